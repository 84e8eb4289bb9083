(() => {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const read = (text) => {
    const values = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    return [values[0] * scale, values[1] * scale, values[2] * scale, values[3] ?? 1];
  };
  const mix = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3]));
  const shine = (color) => {
    const linear = color.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const findPaper = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(read(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((back, front) => mix(front, back), isDark ? [18, 18, 18] : [255, 255, 255]);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const box = range.getBoundingClientRect();
    if (!text || !box.width || element.closest("script, style, .hidden")) continue;
    const style = getComputedStyle(element);
    const paper = findPaper(element);
    const ink = read(element.closest("svg") ? style.fill : style.color);
    ink[3] *= Number(style.opacity);
    const [dim, bright] = [shine(mix(ink, paper)), shine(paper)].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dim + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24;
    if (contrast < (isLarge ? 3 : 4.5)) found.push(`faint (${contrast.toFixed(2)}): ${text}`);
    const lines = new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size;
    if (lines > 1 && 3 * lines > text.length + 2) found.push(`in letters: ${text}`);
    if (box.right > innerWidth + 1 && !element.closest(".scroll, pre")) found.push(`beyond the edge: ${text}`);
  }
  for (const element of document.querySelectorAll("a, button, input, select, textarea, summary, [tabindex='0']")) {
    if (!element.getClientRects().length) continue;
    element.focus({ preventScroll: true, focusVisible: true });
    const style = getComputedStyle(element);
    if (document.activeElement === element && style.outlineStyle === "none") found.push(`no outline: ${element.outerHTML}`);
  }
  document.activeElement.blur();
  if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the window");
  return found;
})()
