/** Answers that come in pieces, as server-sent events. Source: the HTML standard, section 9.2. */
import { fromLibrary } from "./api_error.ts";

/** A client that does not read for so long is given up. */
const UNREAD_MS = 30_000;

/** Sends an event with JSON data; resolves when the client has room for more. */
export type Send = (data: unknown) => Promise<void>;

/**
 * An answer of events, the last of which is `[DONE]`, or an error.
 *
 * @param produce sends the events; `gone` is aborted when the client has left
 * @param ended called when all is sent, or with what prevented it; `left`: the client has left
 */
export function eventStream(
  produce: (send: Send, gone: AbortSignal) => Promise<void>,
  ended: (failure: unknown, left: boolean) => void,
): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const left = new AbortController();
  const encoder = new TextEncoder();
  writer.closed.catch(() => left.abort());
  const write = async (text: string) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const unread = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("The client does not read")), UNREAD_MS);
    });
    try {
      await Promise.race([writer.write(encoder.encode(`data: ${text}\n\n`)), unread]);
    } catch (error) {
      left.abort();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  };
  const work = async () => {
    let failure: unknown;
    try {
      await produce((data) => write(JSON.stringify(data)), left.signal);
      await write("[DONE]");
    } catch (error) {
      failure = error;
      if (!left.signal.aborted) await write(JSON.stringify(errorOf(error))).catch(() => {});
    }
    await writer.close().catch(() => {});
    ended(left.signal.aborted ? undefined : failure, left.signal.aborted);
  };
  void work();
  return new Response(readable, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // Else nginx would hold pieces back.
      "x-accel-buffering": "no",
    },
  });
}

const errorOf = (error: unknown) =>
  fromLibrary(error)?.json() ??
    { error: { message: "The server failed", type: "server_error", param: null, code: null } };
