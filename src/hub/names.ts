/** Checks names of models, revisions and files, because all of them become paths. */
import { BadInputError, UsageError } from "../errors.ts";
import { LinearPattern } from "../lora/linear_pattern.ts";

/** The parts of a name on the command line: `org/name`, `name`, with `@revision` and `:variant`. */
export interface ModelName {
  readonly repository: string;
  readonly revision?: string;
  /** Selects one of the repository's ONNX models. */
  readonly variant?: string;
}

const PART = "[A-Za-z0-9_][A-Za-z0-9_.-]*";
const NAME = new RegExp(`^(${PART}(?:/${PART})?)(?:@([^:@]+))?(?::([\\w.+-]+))?$`);
/** The hub's own limit. */
const LONGEST_REPOSITORY = 96;
const LONGEST_REVISION = 200;

/** Parses a model's name; `undefined` for other texts, such as most paths. */
export function parseModelName(text: string): ModelName | undefined {
  const [, repository, revision, variant] = NAME.exec(text) ?? [];
  if (repository === undefined || repository.length > LONGEST_REPOSITORY) return undefined;
  // The hub has no such names, and in the cache "--" stands for "/".
  if (/--|\.\.|\.git$|[.-]$|[.-]\//.test(repository)) return undefined;
  if (revision !== undefined && !isRevision(revision)) return undefined;
  return { repository, revision, variant };
}

/** Whether a text can be a branch, a tag or a commit. */
function isRevision(text: string): boolean {
  return text.length <= LONGEST_REVISION && /^[\w][\w.+/-]*$/.test(text) &&
    !/\.\.|\/\/|\/\.|\/$|\.lock$/.test(text);
}

/** @throws {UsageError} for an invalid revision */
export function checkRevision(text: string): string {
  if (isRevision(text)) return text;
  throw new UsageError(
    (name) =>
      `${name("revision")} must be a branch, a tag or a commit: current value is ${
        JSON.stringify(text)
      }`,
  );
}

/** Whether a revision is a commit, which never changes. */
export const isCommit = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

/** The cache's folder of a repository: `models--org--name`. */
export const folderOf = (repository: string): string =>
  `models--${repository.replaceAll("/", "--")}`;

/** The repository of a folder in the cache; `undefined` for other folders. */
export function repositoryOf(folder: string): string | undefined {
  if (!folder.startsWith("models--")) return undefined;
  return parseModelName(folder.slice("models--".length).replaceAll("--", "/"))?.repository;
}

const LONGEST_PATH = 1024;

/**
 * Checks a file's path inside a repository, an archive or a folder.
 *
 * @param source name of its origin, for messages
 * @throws {BadInputError} for a path that leads, or could lead, out of the root
 */
export function checkFilePath(path: string, source: string): string {
  const refuse = (why: string) =>
    new BadInputError(`${source}: refused the file ${JSON.stringify(path.slice(0, 200))}: ${why}`);
  if (path === "" || path.length > LONGEST_PATH) {
    throw refuse(`its path must have 1 to ${LONGEST_PATH} characters`);
  }
  // deno-lint-ignore no-control-regex -- it searches control characters
  if (/[\x00-\x1f\x7f]/.test(path)) throw refuse("its path holds a control character");
  if (path.includes("\\")) throw refuse("its path holds a backslash");
  if (path.startsWith("/")) throw refuse("its path is absolute");
  if (path.split("/").some((part) => part === "" || part === "." || part === "..")) {
    throw refuse('its path holds "..", "." or an empty name');
  }
  return path;
}

/** A pattern of `--include` or `--exclude` as an expression: `*` stands for `/` too, as in Python's fnmatch. */
export function globExpression(pattern: string): LinearPattern {
  // A folder stands for all files in it, as in huggingface_hub.
  const whole = pattern.endsWith("/") ? `${pattern}*` : pattern;
  const source = whole.replace(/\[!?[^\]]+\]|[\s\S]/g, (part) => {
    if (part === "*") return "[\\s\\S]*";
    if (part === "?") return "[\\s\\S]";
    if (part.length > 1) return part.replace(/^\[!/, "[^").replaceAll("\\", "\\\\");
    return part.replace(/[\\^$.|+()[\]{}]/, "\\$&");
  });
  try {
    return new LinearPattern(source);
  } catch (cause) {
    throw new UsageError(`The pattern ${JSON.stringify(pattern)} cannot be read`, { cause });
  }
}
