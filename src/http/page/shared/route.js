/** The view that the address names: `#jobs/ftjob-…`. */
import { useEffect, useState } from "preact/hooks";

const parts = () => location.hash.slice(1).split("/").map(decoded);

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}

/** The parts of the address' fragment, as they change. */
export function useRoute() {
  const [route, setRoute] = useState(parts);
  useEffect(() => {
    const changed = () => setRoute(parts());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** @param {...string} path */
export function goTo(...path) {
  location.hash = path.map(encodeURIComponent).join("/");
}
