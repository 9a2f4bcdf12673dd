/** MPI jobs with a rank on each board of a wire; the launcher runs on the first board. */
import { join } from "@std/path";
import { LAUNCHERS } from "./mpi_jobs.ts";
import type { Wire } from "./wire.ts";

/**
 * Starts a program on every board.
 *
 * @param folder for files of the launcher
 * @param words the program and its arguments
 * @param before shell commands that run on each other board first, with its number in `$board`
 */
export function startOverWire(
  wire: Wire,
  folder: string,
  words: readonly string[],
  before?: string,
): Deno.ChildProcess {
  const { program, library } = LAUNCHERS[0];
  const shell = join(folder, "remote-shell");
  wire.writeRemoteShell(shell, before);
  const hosts = Array.from({ length: wire.boards }, (_, board) => wire.addressOf(board));
  const [first, ...args] = [
    ...[...wire.on(0), program, "-iface", "eth0", "-launcher", "ssh", "-launcher-exec", shell],
    ...["-hosts", hosts.join(","), "-n", `${wire.boards}`, ...words],
  ];
  return new Deno.Command(first, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: {
      NO_COLOR: "1",
      GRAFT_MPI_LIB: library,
      // Ranks of one machine would take its memory instead.
      UCX_TLS: "tcp,self",
      MPIR_CVAR_NOLOCAL: "1",
    },
  }).spawn();
}
