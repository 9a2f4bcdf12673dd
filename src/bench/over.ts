/** An object with some members replaced; the others work on `inner` itself, private fields included. */
export function over<T extends object>(inner: T, replaced: Partial<T>): T {
  return new Proxy(inner, {
    get(target, key) {
      const own = Reflect.get(replaced, key);
      if (own !== undefined) return own;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
