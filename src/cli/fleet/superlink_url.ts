/** The address of a SuperLink, as people and Flower's own tools give it. */
import { UsageError } from "../../errors.ts";

/**
 * @param address `https://host:port`, or `host:port` as `flower-supernode --superlink` takes it
 * @param insecure whether plain HTTP is meant
 * @returns its origin
 * @throws {UsageError} for anything else
 */
export function superLinkUrl(address: string, insecure: boolean): string {
  const text = /^[a-z][a-z+.-]*:\/\//i.test(address)
    ? address
    : `${insecure ? "http" : "https"}://${address}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong(address);
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw wrong(address);
  }
  if (url.protocol === "http:" && !insecure) {
    throw new UsageError(
      `${address} is plain HTTP: --insecure allows it, if everybody on the way may read and change ` +
        "adapters",
    );
  }
  if (url.protocol === "https:" && insecure) {
    throw new UsageError(`${address} has TLS: leave --insecure out`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw wrong(address);
  return url.origin;
}

const wrong = (address: string) =>
  new UsageError(
    `The SuperLink's address must be like https://HOST:PORT: current value is "${address}"`,
  );
