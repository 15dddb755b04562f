/* Small repairs of the theme, on every page. */
(() => {
  const repair = () => {
    // Visible text must be part of the accessible name (WCAG 2.5.3): drop labels that replace it.
    document
      .querySelectorAll(".search-button-field[aria-label], summary[aria-label]")
      .forEach((element) => element.removeAttribute("aria-label"));
    document.querySelectorAll(".theme-switch-button .theme-switch").forEach((icon) => {
      icon.setAttribute("aria-hidden", "true");
      icon.removeAttribute("title");
    });
    // The logo stands outside of all landmarks.
    const home = document.querySelector(".sidebar-primary-item > .navbar-brand");
    if (home) {
      home.parentElement.setAttribute("role", "navigation");
      home.parentElement.setAttribute("aria-label", "Home");
    }
  };
  // What scrolls sideways must be reachable by keyboard (axe: scrollable-region-focusable).
  const focusable = () => {
    document.querySelectorAll("pre, mjx-container, div.output, pre.mermaid").forEach((box) => {
      if (box.scrollWidth > box.clientWidth && box.tabIndex < 0) box.tabIndex = 0;
    });
  };

  // Search excerpts are plain text: leave formulas out of them instead of showing their TeX.
  const excerpts = () => {
    if (typeof Search === "undefined") return;
    const toText = Search.htmlToText;
    Search.htmlToText = (...page) =>
      toText(...page).replace(/\\\[[\s\S]*?\\\]|\\\([\s\S]*?\\\)/g, " ... ");
  };

  document.addEventListener("DOMContentLoaded", repair);
  document.addEventListener("DOMContentLoaded", excerpts);
  window.addEventListener("resize", focusable);
  window.addEventListener("load", () => {
    setTimeout(repair, 300);
    (window.MathJax?.startup?.promise ?? Promise.resolve()).then(focusable);
  });

  // From file:// the browser refuses to read other pages, from which the search takes excerpts:
  // show its results without them.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }
})();
