/** A Hugging Face hub on loopback, with the faults that a test asks for. */
import { createHash } from "node:crypto";

const MODELS = "/api/models/";
/** Smaller files have Git's digest, as on the hub. */
const LFS_BYTES = 1000;

/** A request as a test sees it. */
export interface SeenRequest {
  readonly host: "hub" | "content";
  readonly path: string;
  readonly authorization: string | null;
  readonly range: string | null;
}

/** What a hub does to a request instead of answering it; `undefined` answers it. */
export type Fault = (
  request: SeenRequest,
  content: { readonly body: Uint8Array<ArrayBuffer>; readonly start: number } | undefined,
) => Response | Promise<Response> | undefined;

/** A repository: commits by revision, files by commit. */
export interface FakeRepository {
  readonly refs: Record<string, string>;
  readonly commits: Record<string, ReadonlyMap<string, Uint8Array<ArrayBuffer>>>;
}

export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
export const gitSha1 = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

const oids = new WeakMap<Uint8Array, string>();

/** The digest that a hub names a file by. */
export function oidOf(bytes: Uint8Array): string {
  let oid = oids.get(bytes);
  if (oid === undefined) {
    oids.set(bytes, oid = bytes.length >= LFS_BYTES ? sha256(bytes) : gitSha1(bytes));
  }
  return oid;
}

/** A response that ends the connection after some bytes of what its headers promise. */
export function cutResponse(
  body: Uint8Array<ArrayBuffer>,
  after: number,
  init: ResponseInit,
): Response {
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      if (after > 0) controller.enqueue(body.slice(0, after));
    },
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 20)); // the bytes go out first
      controller.error(new Error("cut"));
    },
  }, { highWaterMark: 0 });
  return new Response(stream, init);
}

/** A response that sends some bytes and then nothing. */
export function stalledResponse(body: Uint8Array<ArrayBuffer>, after: number): Response {
  return new Response(
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        if (after > 0) controller.enqueue(body.slice(0, after));
      },
    }),
  );
}

/** Two servers: the hub, and another host that its redirects of large files lead to. */
export class FakeHub implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  readonly repositories = new Map<string, FakeRepository>();
  fault: Fault = () => undefined;
  /** Token that is asked for; none if absent. */
  token: string | undefined;
  /** Files a page of the listing holds. */
  pageFiles = 1000;
  /** What the listing says of a file, before it is sent. */
  listed: (entry: Record<string, unknown>) => Record<string, unknown> = (entry) => entry;
  readonly #hub: Deno.HttpServer<Deno.NetAddr>;
  readonly #content: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {}, onError };
    this.#hub = Deno.serve(options, (request) => this.#answer(request, "hub"));
    this.#content = Deno.serve(options, (request) => this.#answer(request, "content"));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#hub.addr.port}`;
  }

  get contentOrigin(): string {
    return `http://127.0.0.1:${this.#content.addr.port}`;
  }

  /** Adds a commit; returns its name. */
  add(
    repository: string,
    files: Readonly<Record<string, Uint8Array<ArrayBuffer> | string>>,
    revision = "main",
  ): string {
    const bytes = new Map(
      Object.entries(files).map(([path, content]) => [
        path,
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      ]),
    );
    const commit = createHash("sha1").update(
      JSON.stringify([...bytes].map(([path, content]) => [path, sha256(content)])),
    ).digest("hex");
    const found = this.repositories.get(repository) ?? { refs: {}, commits: {} };
    found.refs[revision] = commit;
    found.commits[commit] = bytes;
    this.repositories.set(repository, found);
    return commit;
  }

  requestsTo(host: SeenRequest["host"]): readonly SeenRequest[] {
    return this.seen.filter((request) => request.host === host);
  }

  async #answer(request: Request, host: SeenRequest["host"]): Promise<Response> {
    const url = new URL(request.url);
    const seen = {
      host,
      path: decodeURIComponent(url.pathname),
      authorization: request.headers.get("authorization"),
      range: request.headers.get("range"),
    };
    this.seen.push(seen);
    const file = this.#fileOf(seen.path);
    const [start, end] = rangeOf(seen.range, file?.length ?? 0);
    const content = file && { body: file.slice(start, end), start };
    const fault = await this.fault(seen, content);
    if (fault !== undefined) return fault;
    if (host === "hub" && this.token !== undefined) {
      if (seen.authorization !== `Bearer ${this.token}`) {
        return new Response("no", { status: 401, headers: { "x-error-code": "RepoNotFound" } });
      }
    }
    if (seen.path.startsWith(MODELS)) return this.#api(seen.path, url);
    if (file === undefined) {
      return new Response("no", { status: 404, headers: { "x-error-code": "EntryNotFound" } });
    }
    if (host === "hub" && file.length >= LFS_BYTES) {
      return new Response(null, {
        status: 302,
        headers: {
          location: `${this.contentOrigin}${url.pathname}?X-Signature=secret`,
          "x-linked-etag": `"${oidOf(file)}"`,
          "x-linked-size": String(file.length),
          "x-repo-commit": this.#commitOf(seen.path),
        },
      });
    }
    const response = this.served(file, seen.range);
    response.headers.set("etag", `"${oidOf(file)}"`);
    response.headers.set("x-repo-commit", this.#commitOf(seen.path));
    return response;
  }

  /** A file's bytes, the range that was asked for. */
  served(file: Uint8Array<ArrayBuffer>, range: string | null): Response {
    const [start, end] = rangeOf(range, file.length);
    return new Response(file.slice(start, end), {
      status: range === null ? 200 : 206,
      headers: range === null
        ? { "content-length": String(file.length) }
        : { "content-range": `bytes ${start}-${end - 1}/${file.length}` },
    });
  }

  /** The commit of a file's address, which may name a branch. */
  #commitOf(path: string): string {
    const [, repository, revision] = /^\/(.+?)\/resolve\/([^/]+)\//.exec(path) ?? [];
    return this.repositories.get(repository)?.refs[revision] ?? revision;
  }

  #fileOf(path: string): Uint8Array<ArrayBuffer> | undefined {
    const [, repository, , name] = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(path) ?? [];
    return this.repositories.get(repository)?.commits[this.#commitOf(path)]?.get(name);
  }

  #api(path: string, url: URL): Response {
    const [, repository, what, revision] =
      /^(.+?)\/(revision|tree)\/(.+)$/.exec(path.slice(MODELS.length)) ?? [];
    const found = this.repositories.get(repository);
    const missing = (code: string) =>
      new Response("{}", { status: 404, headers: { "x-error-code": code } });
    if (found === undefined) return missing("RepoNotFound");
    const commit = found.commits[revision] === undefined ? found.refs[revision] : revision;
    if (commit === undefined) return missing("RevisionNotFound");
    if (what === "revision") return Response.json({ id: repository, sha: commit });
    const entries = [...found.commits[commit]].map(([path, bytes]) =>
      this.listed({
        type: "file",
        path,
        size: bytes.length,
        oid: gitSha1(bytes),
        ...(bytes.length >= LFS_BYTES
          ? { lfs: { oid: oidOf(bytes), size: bytes.length, pointerSize: 130 } }
          : {}),
      })
    );
    const at = Number(url.searchParams.get("cursor") ?? 0);
    const more = at + this.pageFiles < entries.length;
    const next = new URL(url);
    next.searchParams.set("cursor", String(at + this.pageFiles));
    return Response.json(entries.slice(at, at + this.pageFiles), {
      headers: more ? { link: `<${next}>; rel="next"` } : {},
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#hub.shutdown(), this.#content.shutdown()]);
  }
}

/** A body that a fault cuts is an error of the server's own. */
function onError(): Response {
  return new Response("failed", { status: 500 });
}

function rangeOf(header: string | null, size: number): [number, number] {
  const [, start, end] = /^bytes=(\d+)-(\d+)?$/.exec(header ?? "") ?? [];
  if (start === undefined) return [0, size];
  return [Number(start), end === undefined ? size : Math.min(size, Number(end) + 1)];
}
