/** Small things that the browser keeps by name. Where it keeps nothing, as some are told to, they last as long as the page. */

/** @param {() => Storage} storage reading the global itself throws where storage is blocked */
function keeper(storage) {
  /** @type {Map<string, string>} */
  const memory = new Map(); // what could not be stored
  return {
    /** @param {string} name @returns {string | null} */
    get(name) {
      try {
        return memory.get(name) ?? storage().getItem(name);
      } catch {
        return null;
      }
    },

    /** @param {string} name @param {string} value */
    set(name, value) {
      try {
        storage().setItem(name, value);
        memory.delete(name);
      } catch {
        memory.set(name, value);
      }
    },

    /** @param {string} name */
    remove(name) {
      memory.delete(name);
      try {
        storage().removeItem(name);
      } catch {
        // Nothing is stored, so nothing is left.
      }
    },
  };
}

export const ofDevice = keeper(() => localStorage);
export const ofTab = keeper(() => sessionStorage);
