"""The site has the repository's pages at the repository's own paths, so that links are the same on GitHub."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs/**/*.md",
    "deploy/**/*",
    "benchmarks/README.md",
    "lincorr/solvers/DESIGN.md",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pages of the repository in place of what mkdocs found in docs/."""
    root = Path(config.config_file_path).parent
    found = {path for pattern in PAGES for path in root.glob(pattern) if path.is_file()}
    pages = [path.relative_to(root) for path in sorted(found) if "__pycache__" not in path.parts]
    return Files(
        [
            *(file for file in files if file.src_dir != config.docs_dir),
            *(File(page.as_posix(), str(root), config.site_dir, config.use_directory_urls) for page in pages),
        ]
    )
