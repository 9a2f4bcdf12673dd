/** The name by which a fleet knows a box. */
import { createHmac } from "node:crypto";
import { readKernelFile } from "../../system/kernel_files.ts";
import { isBoxName } from "../release/report.ts";

const SUFFIX_DIGITS = 8;

/**
 * A name for this machine: its host name, with digits that tell machines of one image apart. They are made
 * from the machine's id, which machine-id(5) wants kept from the network.
 */
export function defaultBoxName(
  host: string = Deno.hostname(),
  machineId: string = readKernelFile("/etc/machine-id")?.trim() ?? "",
): string {
  const name = host.split(".")[0].replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 60);
  const digits = createHmac("sha256", machineId).update("graft fleet").digest("hex");
  const full = machineId === "" ? name : `${name}-${digits.slice(0, SUFFIX_DIGITS)}`;
  return isBoxName(full) ? full : `box-${full}`;
}
