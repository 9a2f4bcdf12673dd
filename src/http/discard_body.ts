/** Reads what a handler left unread of a request's body. */
import { MOST_BODY_BYTES } from "./parse_body.ts";

/**
 * Reads the rest of a request's body, and forgets it. A server that answers before it has read the body
 * must close the connection (Deno 2.6 does), and a client that is about to send its next request there
 * sees a broken pipe instead of an answer.
 *
 * Ends early where the body is longer than any request's may be, or after `boundMs`: closing is right then.
 */
export async function discardBody(request: Request, boundMs: number): Promise<void> {
  if (request.method === "GET" || request.method === "HEAD" || request.bodyUsed) return;
  if (Number(request.headers.get("content-length")) > MOST_BODY_BYTES) return;
  const reader = request.body?.getReader();
  if (reader === undefined) return;
  const end = () => reader.cancel().catch(() => {});
  const timer = setTimeout(end, boundMs);
  try {
    let bytes = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes += value.length;
      if (bytes > MOST_BODY_BYTES) return void await end();
    }
  } catch {
    // Its client has left.
  } finally {
    clearTimeout(timer);
  }
}
