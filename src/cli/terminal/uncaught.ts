/** Errors that nobody catches: in a timer, say, or in a promise that nobody waits for. */

/**
 * Has them end the process as any other error does, instead of with the runtime's own message and its exit
 * code, which has another meaning here.
 *
 * @param end ends the process
 */
export function onUncaught(end: (error: unknown) => void): void {
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    end(event.reason);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    end(event.error);
  });
}
