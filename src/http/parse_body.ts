/** Reads a request's JSON body and checks it against a schema. */
import { concat } from "@std/bytes/concat";
import type { Context } from "hono";
import * as v from "valibot";
import { ApiError } from "./api_error.ts";

/** Most bytes of a JSON body. */
export const MOST_BODY_BYTES = 4 * 2 ** 20;

/**
 * @throws {ApiError} 415 for anything but JSON, 413 for more than {@linkcode MOST_BODY_BYTES}, 400 for a
 *   body that is not what the schema says, naming the parameter and its value
 */
export async function parseBody<S extends v.GenericSchema>(
  context: Context,
  schema: S,
): Promise<v.InferOutput<S>> {
  // A page of another site can send other types without asking the browser.
  if (!/^application\/json\b/i.test(context.req.header("content-type") ?? "")) {
    throw new ApiError(415, "Send the body as JSON, with Content-Type: application/json");
  }
  const parsed = v.safeParse(schema, parseJson(await bodyText(context)), {
    abortPipeEarly: true,
  });
  if (parsed.success) return parsed.output;
  const { message, param } = firstIssue(parsed.issues[0]);
  throw new ApiError(400, message, { param });
}

async function bodyText(context: Context): Promise<string> {
  return new TextDecoder().decode(await bodyBytes(context, MOST_BODY_BYTES));
}

/**
 * The body, read no further than it may be long, whether its length is given or not.
 *
 * @throws {ApiError} 413 for a longer one
 */
export async function bodyBytes(
  { req }: Context,
  most: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLong = () => new ApiError(413, `A body must have at most ${most} bytes`);
  if (Number(req.header("content-length")) > most) throw tooLong();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of req.raw.body ?? []) {
      bytes += chunk.length;
      if (bytes > most) throw tooLong();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // Its client has left, or was too slow; nobody may read this.
    throw new ApiError(400, "The body ended before it was complete");
  }
  return concat(chunks);
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new ApiError(400, "The body is not JSON");
  }
}

/** The deepest issue on the path that fits best, in words. */
function firstIssue(issue: v.BaseIssue<unknown>): { message: string; param?: string } {
  let deepest = issue;
  // Of a union, the alternative that got furthest.
  while (deepest.issues !== undefined && deepest.issues.length > 0) {
    const further = deepest.issues.reduce((a, b) => depth(b) > depth(a) ? b : a);
    if (depth(further) === 0) break;
    deepest = {
      ...further,
      path: [...(deepest.path ?? []), ...(further.path ?? [])],
    } as v.BaseIssue<unknown>;
  }
  const param = v.getDotPath(deepest) ?? undefined;
  return { message: param === undefined ? deepest.message : `${param}: ${deepest.message}`, param };
}

const depth = ({ path }: v.BaseIssue<unknown>) => path?.length ?? 0;
