"use strict";
const sortBy = (table, column, number, up) => {
  const body = table.tBodies[0];
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = number ? x - y : x.localeCompare(y);
    return up ? order : -order;
  };
  body.append(...[...body.rows].sort(compare));
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const number = head.dataset.sort === "number";
      const before = head.getAttribute("aria-sort");
      const up = before === "none" ? !number || head.closest(".strongest") !== null : before === "descending";
      heads.forEach(other => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sortBy(table, column, number, up);
    });
  });
}
for (const table of document.querySelectorAll("table.searchable")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 6) continue;
  const box = document.createElement("label");
  box.className = "search";
  const field = document.createElement("input");
  const found = document.createElement("span");
  field.type = "search";
  found.setAttribute("role", "status");
  box.append(`Search ${table.dataset.search} `, field, " ", found);
  table.closest(".scroll").before(box);
  const plain = text => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  field.addEventListener("input", () => {
    const wanted = plain(field.value.trim());
    let shown = 0;
    for (const row of rows) {
      row.hidden = !plain(row.textContent).includes(wanted);
      shown += !row.hidden;
    }
    found.textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
}
const boxes = new ResizeObserver(entries => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document.querySelectorAll(".scroll").forEach(box => boxes.observe(box));
addEventListener("beforeprint", () => document.querySelectorAll("details.printed").forEach(box => { box.open = true; }));
