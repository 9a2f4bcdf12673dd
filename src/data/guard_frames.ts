/** Encodes messages of the text process as bytes, for standard input and output. */
import { deserialize, serialize } from "node:v8";
import type { Call, Reply } from "./guard_protocol.ts";

/** A message is a length of four bytes, and V8's serialisation of a structured clone. */
const LENGTH_BYTES = 4;

export function encodeFrame(message: Call | Reply): Uint8Array {
  const body = serialize(message);
  const frame = new Uint8Array(LENGTH_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, LENGTH_BYTES);
  return frame;
}

/**
 * Yields the messages of a stream until it ends.
 *
 * @param maxBytes the longest message accepted
 * @throws {RangeError} for a longer one
 */
export async function* decodeFrames(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<unknown> {
  let chunks: Uint8Array[] = [];
  let size = 0;
  let wanted: number | undefined;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
    while (size >= (wanted ?? LENGTH_BYTES)) {
      const bytes = joined(chunks, size);
      const rest = bytes.subarray(wanted ?? LENGTH_BYTES);
      if (wanted === undefined) {
        wanted = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
        if (wanted > maxBytes) {
          throw new RangeError(`A message may have at most ${maxBytes} bytes, not ${wanted}`);
        }
      } else {
        // A copy, because Deno 2.6 reads arrays at a wrong offset from a part of a buffer.
        yield deserialize(bytes.slice(0, wanted));
        wanted = undefined;
      }
      chunks = [rest];
      size = rest.length;
    }
  }
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  if (chunks.length === 1) return chunks[0];
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
