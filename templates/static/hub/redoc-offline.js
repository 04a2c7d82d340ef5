// ReDoc takes its maker's logo from a CDN. Our pages ask nothing of the network, so that picture stays empty.
// React sets an image's address both ways.
const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
const offline = (address) => (String(address).startsWith("https://cdn.redoc.ly/") ? EMPTY : address);
const image = HTMLImageElement.prototype;
const src = Object.getOwnPropertyDescriptor(image, "src");

Object.defineProperty(image, "src", { ...src, set(address) { src.set.call(this, offline(address)); } });
image.setAttribute = function (name, value) {
  Element.prototype.setAttribute.call(this, name, name === "src" ? offline(value) : value);
};
