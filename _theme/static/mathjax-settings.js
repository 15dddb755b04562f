/* Settings of MathJax; loaded before it, on pages with formulas. */
window.MathJax = {
  tex: {
    packages: { "[-]": ["noundefined"] }, // an unknown macro is an error, not red text
  },
  options: {
    enableMenu: false, // the context menu is not used here
    processHtmlClass: "tex2jax_process|mathjax_process|math|output_area",
  },
};
