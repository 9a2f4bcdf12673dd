/** Which versions of Flower graft talks to. */
import { EXIT } from "../../errors.ts";
import { SuperLinkError } from "./fleet_error.ts";

/** Its Fleet API is HTTP from this version on; the next bound is the first version that nobody has tried. */
const [FROM, BELOW] = [[1, 40], [1, 43]] as const;

/**
 * @param version as the SuperLink gives it, `1.42.0`
 * @throws {SuperLinkError} if graft has not been tried with it
 */
export function checkFlowerVersion(version: string, url: string): void {
  const [major, minor] = /^(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number) ?? [];
  const isAtLeast = (bound: readonly [number, number]) =>
    major > bound[0] || (major === bound[0] && minor >= bound[1]);
  if (isAtLeast(FROM) && !isAtLeast(BELOW)) return;
  throw new SuperLinkError(
    `${url} is a SuperLink of Flower ${JSON.stringify(version)}: graft talks to ` +
      `>=${FROM.join(".")},<${BELOW.join(".")}; install one of these on the server`,
    EXIT.refused,
  );
}
