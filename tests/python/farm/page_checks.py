"""What is looked for in a page by scripts that run in it; each tells the elements that it found."""

from __future__ import annotations

TOO_FAINT = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
  };
  const ratio = (node) => {
    const both = [luminance(getComputedStyle(node).color), luminance(ground(node))];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  };
  const hasText = (node) => [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  return [...document.querySelectorAll("main *, header *, nav *")]
    .filter((node) => node.getBoundingClientRect().width > 0 && hasText(node) && ratio(node) < 4.5)
    .map((node) => `${node.tagName} ${node.className} ${ratio(node)}`);
})()"""
"""The elements whose text has less contrast than WCAG 2.1 wants at level AA."""

KEPT_FOR = """((graph_key, name) => {
  const ask = window.fetch.bind(window);
  window.fetch = async (path, options) => {
    const answer = await ask(path, options);
    if (!String(path).startsWith("api/status")) return answer;
    const told = await answer.json();
    Object.assign(told.workers[0], { kept: true, kept_for: { graph_key, name, stage: "max" } });
    return new Response(JSON.stringify(told));
  };
})"""
"""Has the page hear that the first worker is kept for the stage "max" of a graph: to have that happen takes
more memory than a test should."""

TOO_WIDE = """(() => {
  const tooWide = (node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.right > innerWidth + 1 && !node.closest(".scroll, svg, thead, .skip");
  };
  const found = [...document.querySelectorAll("body *")].filter(tooWide);
  if (document.documentElement.scrollWidth > innerWidth) found.push(document.documentElement);
  return found.map((node) => `${node.tagName} ${node.id} ${node.className}`);
})()"""
"""The elements that are wider than the screen, outside of what scrolls by itself."""
