/** Tells screen readers what happens: that an answer is coming, then all of it, never token by token. */

const BLOCKS = "p, li, h3, h4, h5, h6, th, td, pre";

/** The text of an answer as it is read aloud: a line per block, without buttons. @param {Element} root */
export function spoken(root) {
  const words = [];
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let before = null;
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (parent?.closest(".code-bar")) continue;
    const block = parent?.closest(BLOCKS) ?? null;
    if (words.length && block !== before) words.push("\n");
    words.push(texts.currentNode.nodeValue);
    before = block;
  }
  return words.join("");
}

export class Announcer {
  /** @param {HTMLElement} region a visually hidden role=status */
  constructor(region) {
    this.region = region;
  }

  /** @param {string} words */
  say(words) {
    // The same words twice in a row are only heard again if the region was empty in between.
    this.region.textContent = "";
    setTimeout(() => (this.region.textContent = words), 50);
  }
}
