/**
 * The page at `/` and its files. They are the same for everybody and hold no data, so that they need no
 * key; what the page shows comes from the API, which does.
 */
import { createHash } from "node:crypto";
import { PAGE_FILES, type PageAsset, pageAssets } from "../page_assets.ts";
import type { Handler } from "../server_parts.ts";

/** What the page's files have in the figures of requests as their route. */
export const PAGE_ROUTE = "/";

/** Paths of the page's files. */
export const PAGE_PATHS: readonly string[] = [...PAGE_FILES.keys()];

/** Whether a request reads a file of the page. */
export function isPageRequest({ method, path }: { method: string; path: string }): boolean {
  return (method === "GET" || method === "HEAD") && PAGE_FILES.has(path);
}

/** A file, ready to be sent. */
interface ReadyAsset {
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Sends the page's files, which are read when the first one is asked for. */
export function pageFile(): Handler {
  let ready: ReadonlyMap<string, ReadyAsset> | undefined;
  return (context) => {
    ready ??= readyAssets();
    const { text, headers } = ready.get(context.req.path)!;
    const isKnown = context.req.header("if-none-match") === headers.etag;
    return new Response(isKnown ? null : text, { status: isKnown ? 304 : 200, headers });
  };
}

function readyAssets(): ReadonlyMap<string, ReadyAsset> {
  const assets = pageAssets();
  const policy = contentPolicy(assets.get("/")!);
  return new Map(
    Array.from(assets, ([path, { type, text }]) => [path, {
      text,
      headers: {
        "content-type": type,
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        // The next version of graft has other files under the same names.
        "cache-control": "no-cache",
        etag: `"${sha256(text, "hex").slice(0, 32)}"`,
      },
    }]),
  );
}

/**
 * What the page may do: run its own files, talk to its own server, and nothing else; and no text may
 * become markup. Only the map of its modules stands in the page itself.
 *
 * Source: W3C Content Security Policy Level 3, and Trusted Types.
 */
function contentPolicy({ text }: PageAsset): string {
  const inline = [...text.matchAll(/<script type="importmap">([\s\S]*?)<\/script>/g)]
    .map(([, content]) => `'sha256-${sha256(content, "base64")}'`);
  return [
    "default-src 'none'",
    `script-src 'self' ${inline.join(" ")}`,
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}

const sha256 = (text: string, encoding: "hex" | "base64") =>
  createHash("sha256").update(text).digest(encoding);
