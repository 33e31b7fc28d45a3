/* Fills in the examples at /docs: this gateway's address, and the first model that it serves. */
(() => {
  const base = new URL(".", location.href).href.replace(/\/$/, "");

  /** @param {string} name @param {string} text */
  const fill = (name, text) => {
    for (const place of document.querySelectorAll(`pre .${name}`)) place.textContent = text;
  };

  const models = async () => {
    const got = await fetch(`${base}/v1/models`);
    if (!got.ok) return; // a key is needed: MODEL and KEY stay
    const { data } = await got.json();
    if (data[0]) fill("model", data[0].id);
  };

  fill("origin", base);
  models().catch(() => {}); // what stands there says enough
})();
