/** Which MPI launcher started this process, and which libraries belong to it. */
import type { MpiKind } from "../../ffi/mpi_abi.ts";
import { UsageError } from "../errors.ts";

/** A job that a launcher started. */
export interface Launched {
  /** Processes of the job, if the launcher says it. */
  readonly size?: number;
  /** Libraries to try in this order. */
  readonly libraries: readonly MpiLibrary[];
}

/** A library and its binary interface. */
export interface MpiLibrary {
  readonly path: string;
  readonly kind: MpiKind;
}

/** Names a library file other than those of the system's search path. */
export const MPI_LIBRARY = "GRAFT_MPI_LIB";

/** Libraries of MPICH and of those that took over its interface: the standard's first. */
const MPICH_LIBRARIES: readonly MpiLibrary[] = [
  { path: "libmpi_abi.so.1", kind: "standard" },
  { path: "libmpi.so.12", kind: "mpich" },
];
/** Open MPI 4 and 5. */
const OPEN_MPI_LIBRARIES: readonly MpiLibrary[] = [{ path: "libmpi.so.40", kind: "openmpi" }];

/**
 * Looks for the variables that launchers set.
 *
 * @returns `undefined` outside of a job, and in a job of one process
 * @throws {UsageError} if `GRAFT_MPI_LIB` names a file whose interface cannot be told from its name
 */
export function launchedBy(
  variable: (name: string) => string | undefined,
): Launched | undefined {
  const told = variable("OMPI_COMM_WORLD_SIZE") ?? variable("PMI_SIZE");
  // Open MPI's own launcher below mpirun, prterun, does not tell the size.
  const isOpenMpi = variable("PMI_SIZE") === undefined;
  if (told === undefined && variable("PMIX_RANK") === undefined) return undefined;
  const size = told === undefined ? undefined : Number(told);
  if (size !== undefined && (!Number.isSafeInteger(size) || size < 2)) return undefined;
  const named = variable(MPI_LIBRARY);
  const libraries = named !== undefined && named !== ""
    ? [{ path: named, kind: kindOf(named, isOpenMpi) }]
    : isOpenMpi
    ? OPEN_MPI_LIBRARIES
    : MPICH_LIBRARIES;
  return { ...(size === undefined ? {} : { size }), libraries };
}

/** Number of this process in the job that a launcher started; 0 outside of a job. */
export function launchedRank(variable: (name: string) => string | undefined): number {
  const told = variable("OMPI_COMM_WORLD_RANK") ?? variable("PMI_RANK") ?? variable("PMIX_RANK");
  return Number(told ?? 0) || 0;
}

function kindOf(path: string, isOpenMpi: boolean): MpiKind {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name.startsWith("libmpi_abi.so")) return "standard";
  if (name.startsWith("libmpi.so")) return isOpenMpi ? "openmpi" : "mpich";
  throw new UsageError(
    `${MPI_LIBRARY} must name libmpi_abi.so.1, libmpi.so.12 (MPICH) or libmpi.so.40 (Open MPI), ` +
      `where it lies: current value is ${path}`,
  );
}
