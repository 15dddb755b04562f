/* Draws the mermaid diagrams, and again when the reader switches between light and dark. */
(() => {
  const source = new Map();
  const light = {
    primaryColor: "#eef4f8",
    primaryBorderColor: "#0b5c8c",
    primaryTextColor: "#1f2328",
    lineColor: "#57606a",
    tertiaryColor: "#f5f7f9",
    edgeLabelBackground: "#ffffff",
  };
  const dark = {
    darkMode: true,
    background: "#121212",
    primaryColor: "#1d2a35",
    primaryBorderColor: "#7cc4f0",
    primaryTextColor: "#e6edf3",
    lineColor: "#a9b4bf",
    tertiaryColor: "#1a1f25",
    edgeLabelBackground: "#121212",
  };

  const redraw = async () => {
    mermaid.initialize({
      startOnLoad: false,
      securityLevel: "strict",
      theme: "base",
      themeVariables: {
        ...(document.documentElement.dataset.theme === "dark" ? dark : light),
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
    });
    const diagrams = [...document.querySelectorAll("pre.mermaid")];
    for (const diagram of diagrams) {
      if (!source.has(diagram)) source.set(diagram, diagram.textContent);
      diagram.textContent = source.get(diagram);
      diagram.removeAttribute("data-processed");
    }
    await mermaid.run({ nodes: diagrams.filter((d) => d.getClientRects().length) });
  };

  // One after the other: mermaid measures what it draws, and must find it in place.
  let drawing = Promise.resolve();
  const draw = () => (drawing = drawing.then(redraw));

  document.addEventListener("DOMContentLoaded", () => {
    let theme = document.documentElement.dataset.theme;
    draw();
    new MutationObserver(() => {
      if (document.documentElement.dataset.theme === theme) return;
      theme = document.documentElement.dataset.theme;
      draw();
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  });
})();
