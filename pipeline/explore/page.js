"use strict";
// The page asks through Bokeh's model `exchange` and shows what it is answered. Token text is only ever set as text.
const stores = JSON.parse(document.getElementById("stores").textContent);
const byId = id => document.getElementById(id);
const word = byId("word"), status = byId("status"), trouble = byId("trouble");
let exchange, number = 0, waiting = null, next = null, chosen = null; // chosen: a token that was followed

// --- small parts of the page ---------------------------------------------------------------------
const element = (name, className = "", text = "") => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};
const fill = (select, options) => {
  const before = select.value;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => String(value) === before)) select.value = before;
  else if (options.length) select.value = options[options.length - 1][0];
};
const token = shown => { // [[text, stands for something invisible]]
  const whole = document.createDocumentFragment();
  for (const [text, unseen] of shown) {
    const part = element("span", unseen ? "unseen" : "", text);
    if (unseen && text === "·") part.setAttribute("aria-hidden", "true");
    whole.append(part);
  }
  return whole;
};
const plain = shown => shown.map(([text]) => text).join("").replace(/^·/, "");
const minus = text => text.replace("-", "−");
const format = weights => {
  const largest = Math.max(...weights.map(Math.abs), 0);
  if (largest === 0) return () => "0";
  const digits = 2 - Math.floor(Math.log10(largest));
  return digits > 7 ? w => minus(w.toExponential(2)) : w => minus(w.toFixed(Math.max(0, digits)));
};
const candidates = found => found.question.every ? `all ${found.of.toLocaleString("en")} tokens` : `the ${found.of.toLocaleString("en")} answers`;
const penaltyText = root => root === 0 ? "0" : minus(Number(root.toPrecision(3)).toString());
const prompt = text => {
  const shown = element("q");
  text.split("{}").forEach((part, at) => shown.append(...(at ? [element("var", "", "X")] : []), part));
  return shown;
};

// --- a panel: one map --------------------------------------------------------------------------------
class Panel {
  constructor(name, number) {
    this.name = name;
    const node = byId("panel").content.cloneNode(true);
    this.section = node.querySelector("section");
    this.section.id = number ? "second" : "first";
    this.section.setAttribute("aria-label", name);
    this.section.querySelector("h2").textContent = name;
    this.parts = Object.fromEntries([...this.section.querySelectorAll("[data-name]")].map(p => [p.dataset.name, p]));
    for (const field of this.section.querySelectorAll(".field")) {
      const input = field.querySelector("select, input");
      input.id = `${this.section.id}-${input.dataset.name}`;
      field.querySelector("label").htmlFor = input.id;
    }
    this.parts.where.id = `${this.section.id}-where`;
    this.parts.penalty.setAttribute("aria-describedby", this.parts.where.id);
    this.root = null; // the penalty that was chosen; null: the stored map's
    this.found = null;
    this.path = null;
    fill(this.parts.store, stores.map((store, at) => [at, store.name]));
    this.parts.store.value = Math.min(number, stores.length - 1);
    this.section.querySelector(".store").hidden = stores.length < 2;
    this.relations();
    this.parts.store.addEventListener("change", () => { this.relations(); this.changed(); });
    this.parts.relation.addEventListener("change", () => { this.fits(); this.changed(); });
    this.parts.fit.addEventListener("change", () => this.changed());
    this.parts.reading.addEventListener("change", () => ask());
    this.parts.penalty.addEventListener("input", () => { this.root = this.path.roots[this.parts.penalty.value]; this.where(); ask(); });
    this.parts.csv.addEventListener("click", () => save(new Blob([this.found.csv], { type: "text/csv" }), `${this.file()}.csv`));
    this.parts.png.addEventListener("click", () => draw(this));
  }
  get store() { return stores[this.parts.store.value]; }
  get map() { return this.store.maps.find(map => map.relation === this.parts.relation.value); }
  relations() {
    const names = this.store.maps.map(map => [map.relation, map.relation + (map.chosen ? " (chosen)" : "")]);
    const kept = names.some(([name]) => name === this.parts.relation.value);
    fill(this.parts.relation, names);
    if (!kept) this.parts.relation.selectedIndex = 0;
    this.fits();
  }
  fits() {
    fill(this.parts.fit, this.map.fits.map(fit => [fit, fit]));
    this.section.querySelector(".prompts").replaceChildren(prompt(this.map.source_prompt), " → ", prompt(this.map.target_prompt));
  }
  changed() { this.root = null; ask(); }
  question() {
    return {
      store: Number(this.parts.store.value), relation: this.map.relation, fit: this.parts.fit.value,
      word: chosen?.text ?? word.value, token: this.parts.store.value === String(chosen?.store) ? chosen.token : null,
      target: byId("sources").checked, every: byId("among").value === "every",
      centred: this.parts.reading.value === "centred", root_penalty: this.root, top: Number(byId("top").value),
    };
  }
  file() { return `${this.map.relation} ${this.parts.fit.value} ${plain(this.found.shown)}`.replace(/[^\p{L}\p{N}.-]+/gu, "-"); }

  show(found) {
    this.found = found.refusal === undefined ? found : null;
    for (const name of ["csv", "png"]) this.parts[name].disabled = !this.found;
    this.section.querySelector(".answer").replaceChildren(...(this.found ? this.table(found) : this.refused(found)));
    if (this.found) this.slider(found);
  }
  refused(found) {
    const near = element("ul", "near");
    for (const one of found.near ?? []) {
      const button = element("button");
      button.type = "button";
      button.append(token(one.shown));
      button.addEventListener("click", () => { word.value = one.text; chosen = null; ask(true); word.focus(); });
      near.append(element("li"));
      near.lastChild.append(button);
    }
    const words = element("p", "warn", found.refusal + (near.childElementCount ? ". Near it are:" : ""));
    return near.childElementCount ? [words, near] : [words];
  }
  heading(found) { return found.question.target ? "Strongest sources of " : "Strongest targets of "; }
  table(found) {
    const heading = element("h3", "", this.heading(found));
    heading.append(token(found.shown));
    const parts = [heading, element("p", "quiet", `among ${candidates(found)}; found in ${Math.max(1, Math.round(1000 * found.seconds))} ms`)];
    if (found.note) parts.push(element("p", "note", found.note));
    if (found.warning) parts.push(element("p", "warn", `⚠ ${found.warning}`));
    const table = element("table");
    const caption = element("caption", "hidden", `${heading.textContent} by ${this.map.relation}, ${found.question.fit}`);
    const head = table.createTHead().insertRow();
    for (const [className, text] of [["rank", "#"], ["name", found.question.target ? "source" : "target"], ["bar", ""], ["weight", "weight"], ["mark", ""]]) {
      const cell = element(text ? "th" : "td", className, text);
      if (text) cell.scope = "col";
      head.append(cell);
    }
    const weights = found.links.map(link => link.weight), write = format(weights);
    const least = Math.min(0, ...weights), span = Math.max(0, ...weights) - least || 1;
    const body = table.createTBody();
    for (const link of found.links) body.append(this.row(link, write, least, span));
    table.prepend(caption);
    parts.push(table, this.known(found));
    return parts;
  }
  row(link, write, least, span) {
    const row = element("tr", link.right ? "right" : "");
    const name = element("th", "name"), button = element("button"), bar = element("td", "bar"), track = element("span", "track");
    name.scope = "row";
    button.type = "button";
    button.append(token(link.shown), element("span", "hidden", link.right ? ", right" : ""));
    button.title = JSON.stringify(link.text);
    button.addEventListener("click", () => this.follow(link));
    name.append(button);
    const filled = element("span", link.weight < 0 ? "negative" : "");
    filled.style.left = `${100 * (Math.min(0, link.weight) - least) / span}%`;
    filled.style.width = `${100 * Math.abs(link.weight) / span}%`;
    track.append(filled);
    if (least < 0) { const zero = element("i"); zero.style.left = `${-100 * least / span}%`; track.append(zero); }
    bar.append(track);
    bar.setAttribute("aria-hidden", "true");
    const mark = element("td", "mark", link.right ? "✓" : "");
    mark.setAttribute("aria-hidden", "true");
    row.append(element("td", "rank", String(link.rank)), name, bar, element("td", "weight", write(link.weight)), mark);
    return row;
  }
  known(found) {
    const words = element("p", "known quiet", found.right.length ? "Right: " : "No right answer is known.");
    found.right.forEach((link, at) => words.append(at ? ", " : "", token(link.shown), ` (rank ${link.rank.toLocaleString("en")})`));
    return words;
  }
  follow(link) {
    chosen = { store: this.parts.store.value, token: link.token, text: link.text }; // no field holds "\n"
    word.value = link.text.replace(/^ /, "");
    byId(byId("sources").checked ? "targets" : "sources").checked = true;
    ask(true);
    this.focusNext = true;
  }
  slider(found) {
    const slider = this.parts.penalty;
    this.path = found.path ?? null;
    slider.disabled = !this.path;
    if (!this.path) { this.parts.where.textContent = `${penaltyText(found.root_penalty)}; ${found.no_path}`; return; }
    slider.max = this.path.roots.length - 1;
    if (document.activeElement !== slider) {
      const at = this.root ?? this.path.stored;
      slider.value = this.path.roots.reduce((best, root, i) => Math.abs(root - at) < Math.abs(this.path.roots[best] - at) ? i : best, 0);
    }
    this.where();
  }
  where() {
    const at = this.root ?? this.path.stored, i = this.path.roots.indexOf(at), score = this.path.scores[i];
    const words = [penaltyText(at)];
    if (at === this.path.reading) words.push("chosen for reading");
    if (at === this.path.best) words.push("best leave-one-out r");
    if (score != null) words.push(`r ${score.toFixed(3)}`);
    this.parts.where.textContent = words.join(", ");
    this.parts.penalty.setAttribute("aria-valuetext", words.join(", "));
  }
}

const panels = [new Panel("Map", 0), new Panel("Map to compare with", 1)];
byId("answers").append(...panels.map(panel => panel.section));
const shownPanels = () => panels.filter(panel => !panel.section.hidden);
const compare = on => {
  panels[1].section.hidden = !on;
  byId("compare").setAttribute("aria-expanded", String(on));
  byId("answers").classList.toggle("two", on);
};

// --- asking: one message at a time, then the latest of those that came meanwhile ----------------------
const send = message => {
  if (!exchange || waiting !== null) { next = message; return; }
  waiting = message.number = ++number;
  document.body.classList.toggle("busy", !message.suggest);
  exchange.asked = JSON.stringify(message);
};
const ask = (remembered = false) => {
  if (!word.value && !chosen) return;
  const questions = shownPanels().map(panel => panel.question());
  remember(remembered);
  send({ questions });
};
const suggest = () => { if (word.value.trim() && !next?.questions) send({ suggest: panels[0].question() }); };
const receive = () => {
  const reply = JSON.parse(exchange.answered);
  if (reply.number !== waiting) return;
  waiting = null;
  document.body.classList.remove("busy");
  trouble.hidden = !reply.failed;
  trouble.textContent = reply.failed ?? "";
  if (reply.suggested) {
    byId("suggested").replaceChildren(...[...new Set(reply.suggested.map(one => one.text.replace(/^ /, "")))].map(text => new Option(text, text)));
  }
  if (reply.answers) show(reply.answers);
  if (next) { const message = next; next = null; send(message); }
};
const show = answers => {
  shownPanels().forEach((panel, at) => {
    if (!answers[at]) return;
    panel.show(answers[at]);
    if (panel.focusNext) panel.section.querySelector(".name button")?.focus();
    panel.focusNext = false;
  });
  document.body.dataset.answered = number; // for who waits for it
  status.textContent = shownPanels().map((panel, at) => spoken(panel, answers[at])).join(" ");
};
const spoken = (panel, found) => {
  if (!found) return "";
  if (found.refusal !== undefined) return found.refusal;
  const first = found.links[0];
  const strongest = first ? `${plain(first.shown)}${first.right ? ", right" : ""}` : "none";
  return `${panel.map.relation}: ${panel.heading(found)}${plain(found.shown)}: ${strongest}, and ${Math.max(0, found.links.length - 1)} more.`;
};

// --- what is asked is kept in the address, so that Back goes back --------------------------------------
const remember = push => {
  const state = {
    word: word.value, chosen, sources: byId("sources").checked, among: byId("among").value, top: byId("top").value,
    panels: shownPanels().map(panel => ({
      store: panel.parts.store.value, relation: panel.parts.relation.value, fit: panel.parts.fit.value,
      reading: panel.parts.reading.value, root: panel.root,
    })),
  };
  history[push ? "pushState" : "replaceState"](state, "", location.href);
};
const recall = state => {
  if (!state) return;
  word.value = state.word;
  chosen = state.chosen;
  byId(state.sources ? "sources" : "targets").checked = true;
  byId("among").value = state.among;
  byId("top").value = state.top;
  compare(state.panels.length > 1);
  state.panels.forEach((kept, at) => {
    const panel = panels[at];
    panel.parts.store.value = kept.store;
    panel.relations();
    panel.parts.relation.value = kept.relation;
    panel.fits();
    panel.parts.fit.value = kept.fit;
    panel.parts.reading.value = kept.reading;
    panel.root = kept.root;
  });
  ask();
};

// --- exports -------------------------------------------------------------------------------------
const save = (blob, name) => {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const draw = panel => { // what is seen, on a canvas, in the colours of the page
  const found = panel.found, style = getComputedStyle(document.documentElement), scale = 2;
  const colour = name => style.getPropertyValue(`--${name}`).trim();
  const rows = found.links, line = 24, left = 190, right = 112, width = 720, top = 74;
  const canvas = element("canvas");
  canvas.width = width * scale;
  canvas.height = (top + rows.length * line + 24) * scale;
  const pen = canvas.getContext("2d"), font = getComputedStyle(document.body).fontFamily;
  pen.scale(scale, scale);
  pen.fillStyle = colour("paper");
  pen.fillRect(0, 0, width, canvas.height);
  const say = (text, x, y, { size = 14, bold = false, ink = "ink", align = "left", most = width } = {}) => {
    pen.font = `${bold ? 600 : 400} ${size}px ${font}`;
    pen.fillStyle = colour(ink);
    pen.textAlign = align;
    pen.fillText(text, x, y, most);
  };
  say(panel.heading(found) + plain(found.shown), 24, 32, { size: 16, bold: true });
  const rowsRead = found.question.centred ? "rows centred" : "rows as fitted";
  say(`${panel.map.relation}, ${found.question.fit}, √λ/σ₁ ${penaltyText(found.root_penalty)}, ${rowsRead}; among ${candidates(found)}`, 24, 53, { size: 12, ink: "muted", most: width - 48 });
  const weights = rows.map(link => link.weight), write = format(weights);
  const least = Math.min(0, ...weights), span = Math.max(0, ...weights) - least || 1;
  const room = width - left - right - 24, zero = left - room * least / span;
  rows.forEach((link, at) => {
    const y = top + at * line;
    say(plain(link.shown), left - 12, y + 16, { align: "right", bold: link.right, most: left - 40 });
    pen.fillStyle = colour(link.right ? "bar-right" : link.weight < 0 ? "negative" : "bar");
    const length = room * link.weight / span;
    pen.fillRect(Math.min(zero, zero + length), y + 3, Math.max(1, Math.abs(length)), line - 7);
    say(write(link.weight) + (link.right ? " ✓" : ""), width - 24, y + 16, { align: "right", bold: link.right });
  });
  canvas.toBlob(blob => save(blob, `${panel.file()}.png`), "image/png");
};

// --- events, and the connection --------------------------------------------------------------------
byId("ask").addEventListener("submit", event => { event.preventDefault(); chosen = null; ask(true); });
word.addEventListener("input", () => { chosen = null; suggest(); });
for (const input of document.querySelectorAll("#targets, #sources, #among, #top")) input.addEventListener("change", () => ask());
byId("compare").addEventListener("click", () => { compare(panels[1].section.hidden); ask(); });
addEventListener("popstate", event => recall(event.state));
byId("models").textContent = [...new Set(stores.map(store => store.model))].join(" and ");
compare(stores.length > 1);

const connect = () => {
  const found = Bokeh.documents[0]?.get_model_by_name("exchange");
  if (!found) { setTimeout(connect, 30); return; }
  exchange = found;
  exchange.on_change(exchange.properties.answered, receive);
  exchange.document.on_event("connection_lost", () => {
    trouble.hidden = false;
    trouble.textContent = "The connection is lost: is lincorr explore still running? Then reload this page.";
  });
  if (history.state) recall(history.state);
  else { word.value = stores[0].example; ask(); }
  if (next && waiting === null) { const message = next; next = null; send(message); }
};
connect();
