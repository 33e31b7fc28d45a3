/** Keeps the API key: for this tab, or on this device if the person says so. */

const NAME = "streamlane-key";

export const keyring = {
  /** @returns {string | undefined} */
  get key() { return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? undefined; },

  /** @param {string} key @param {boolean} remember */
  keep(key, remember) {
    this.forget();
    (remember ? localStorage : sessionStorage).setItem(NAME, key);
  },

  forget() {
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
  },
};
