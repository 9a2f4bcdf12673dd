/** A value that parts of the page share. */
import { useEffect, useState } from "preact/hooks";

/** @template T */
export class Store {
  #value;
  /** @type {Set<(value: T) => void>} */
  #listeners = new Set();

  /** @param {T} value */
  constructor(value) {
    this.#value = value;
  }

  get() {
    return this.#value;
  }

  /** @param {T} value */
  set(value) {
    this.#value = value;
    for (const listener of this.#listeners) listener(value);
  }

  /** @param {Partial<T>} change */
  change(change) {
    this.set({ ...this.#value, ...change });
  }

  /**
   * @param {(value: T) => void} listener
   * @returns {() => void} ends it
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/**
 * The value of a store, for as long as the component is shown.
 *
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
export function useStore(store) {
  const [value, setValue] = useState(store.get());
  useEffect(() => {
    // It may have changed between drawing and here.
    setValue(store.get());
    return store.subscribe(setValue);
  }, [store]);
  return value;
}
