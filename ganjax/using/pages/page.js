"use strict";
// What the pages share: nodes made of texts, never of markup, and numbers as people write them.

/** A node. Attributes that are functions listen to events; children are nodes or texts. */
function node(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "circle", "rect"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** 1234567 as 1,234,567. */
const whole = (number) => Math.round(number).toLocaleString("en-US");

/** Images seen, as on an axis: 1.5M, 240k. */
function count(images) {
  for (const [size, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (images >= size) return `${Number((images / size).toPrecision(4))}${suffix}`;
  }
  return `${images}`;
}

/** Any number in four figures. */
function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return `${Number(value.toPrecision(4))}`;
}
