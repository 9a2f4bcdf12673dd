/**
 * The three binary interfaces of MPI libraries: what their constants are.
 *
 * Sources: `mpi_abi.h` of the MPI 5.0 standard (as MPICH 5 installs it), `mpi.h` of MPICH 4 and 5, whose
 * handles are 32-bit numbers, and the data symbols that Open MPI 4 and 5 export.
 */

/** Constants of a library; handles are passed as machine words. */
export interface MpiConstants {
  readonly world: bigint;
  readonly float: bigint;
  readonly double: bigint;
  readonly byte: bigint;
  readonly sum: bigint;
  readonly errorsReturn: bigint;
}

/** The kinds of libraries. */
export type MpiKind = "standard" | "mpich" | "openmpi";

/** `MPI_THREAD_SERIALIZED`: the process has threads, of which one at a time calls the library. */
export const THREAD_SERIALIZED: Readonly<Record<MpiKind, number>> = {
  standard: 2048,
  mpich: 2,
  openmpi: 2,
};

/** The standard's, since 5.0. */
export const STANDARD: MpiConstants = {
  world: 0x101n,
  float: 0x210n,
  double: 0x214n,
  byte: 0x247n,
  sum: 0x21n,
  errorsReturn: 0x143n,
};

/** MPICH's own. */
export const MPICH: MpiConstants = {
  world: 0x44000000n,
  float: 0x4c00040an,
  double: 0x4c00080bn,
  byte: 0x4c00010dn,
  sum: 0x58000003n,
  errorsReturn: 0x54000001n,
};

/** Data symbols of Open MPI, whose addresses are the handles. */
export const OPEN_MPI_SYMBOLS: Readonly<Record<keyof MpiConstants, string>> = {
  world: "ompi_mpi_comm_world",
  float: "ompi_mpi_float",
  double: "ompi_mpi_double",
  byte: "ompi_mpi_byte",
  sum: "ompi_mpi_op_sum",
  errorsReturn: "ompi_mpi_errors_return",
};
