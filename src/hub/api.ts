/** Reads the hub's data about a repository. Source: the hub's OpenAPI description, `/api/models`. */
import { HubError } from "../errors.ts";
import type { FileDigest } from "./digests.ts";
import { type HubHttp, shown } from "./http.ts";
import { checkFilePath, isCommit } from "./names.ts";

/** A file of a repository at one commit. */
export interface RepositoryFile {
  /** Path inside the repository. */
  readonly path: string;
  /** Size in bytes. */
  readonly sizeBytes: number;
  /** What its content must hash to. */
  readonly digest: FileDigest;
}

/** Most pages of a listing, of 1000 files each; no model's repository has more. */
const MOST_PAGES = 200;
const LARGEST_FILE = 2 ** 50;

const pathOf = (repository: string) => repository.split("/").map(encodeURIComponent).join("/");

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/**
 * The commit that a branch or a tag points to now.
 *
 * @throws {AccessError | BadInputError | HubError} if the hub does not say
 */
export async function commitOf(
  http: HubHttp,
  repository: string,
  revision: string,
): Promise<string> {
  const url = http.url(
    `/api/models/${pathOf(repository)}/revision/${encodeURIComponent(revision)}`,
  );
  const { value } = await http.json(url);
  const sha = field(value, "sha");
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw new HubError(`${shown(url)}: the answer names no commit: is HF_ENDPOINT a hub?`);
}

/**
 * All files of a repository at a commit.
 *
 * @throws {AccessError | BadInputError | HubError} if the hub does not answer, or lists an invalid file
 * name
 */
export async function listFiles(
  http: HubHttp,
  repository: string,
  commit: string,
): Promise<readonly RepositoryFile[]> {
  const files: RepositoryFile[] = [];
  let url: URL | undefined = http.url(
    `/api/models/${pathOf(repository)}/tree/${commit}?recursive=true`,
  );
  for (let pages = 0; url !== undefined; pages++) {
    if (pages === MOST_PAGES) throw new HubError(`${shown(url)}: the listing has no end`);
    const { value, headers } = await http.json(url);
    if (!Array.isArray(value)) {
      throw new HubError(`${shown(url)}: the answer is not a list of files`);
    }
    for (const entry of value) {
      if (field(entry, "type") === "file") files.push(fileOf(entry, shown(url)));
    }
    url = nextPage(headers.get("link"), url);
  }
  return files;
}

function fileOf(entry: unknown, source: string): RepositoryFile {
  const path = field(entry, "path");
  if (typeof path !== "string") throw new HubError(`${source}: a file has no path`);
  checkFilePath(path, source);
  const lfs = field(entry, "lfs");
  const sizeBytes = field(lfs, "size") ?? field(entry, "size");
  const sha256 = field(lfs, "oid");
  const hex = sha256 ?? field(entry, "oid");
  const kind = sha256 === undefined ? "git" : "sha256";
  if (
    !Number.isSafeInteger(sizeBytes) || sizeBytes as number < 0 ||
    sizeBytes as number > LARGEST_FILE
  ) {
    throw new HubError(`${source}: the file "${path}" has no size`);
  }
  if (
    typeof hex !== "string" || !/^[0-9a-f]+$/.test(hex) ||
    hex.length !== (kind === "git" ? 40 : 64)
  ) {
    throw new HubError(`${source}: the file "${path}" has no digest to check it by`);
  }
  return { path, sizeBytes: sizeBytes as number, digest: { kind, hex } };
}

/** The `rel="next"` address of a Link header, if it has the same origin and path. Source: RFC 8288. */
function nextPage(link: string | null, url: URL): URL | undefined {
  const next = link?.match(/<([^>]+)>;\s*rel="next"/)?.[1];
  const to = next === undefined ? null : URL.parse(next, url);
  if (to === null) return undefined;
  if (to.origin === url.origin) return to;
  throw new HubError(`${shown(url)}: the next page is at ${shown(to)}, another host`);
}

/** Address of a file's content. */
export function contentUrl(http: HubHttp, repository: string, commit: string, path: string): URL {
  return http.url(
    `/${pathOf(repository)}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`,
  );
}
