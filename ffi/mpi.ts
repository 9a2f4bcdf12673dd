/**
 * The functions of an MPI library that distributed training needs. Collective ones return a request at
 * once; {@linkcode MpiRequest.test} asks whether it is done, and lets the library make progress.
 */
import { loadGlobally } from "./libc.ts";
import {
  MPICH,
  type MpiConstants,
  type MpiKind,
  OPEN_MPI_SYMBOLS,
  STANDARD,
  THREAD_SERIALIZED,
} from "./mpi_abi.ts";
import { readCString } from "./pointer.ts";

const FUNCTIONS = {
  // int MPI_Init_thread(int* argc, char*** argv, int required, int* provided)
  // As MPI_Finalize, it waits for all ranks: beside the main thread, which can give up.
  MPI_Init_thread: {
    parameters: ["pointer", "pointer", "i32", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  // int MPI_Comm_rank(MPI_Comm comm, int* rank)
  MPI_Comm_rank: { parameters: ["usize", "buffer"], result: "i32" },
  // int MPI_Comm_size(MPI_Comm comm, int* size)
  MPI_Comm_size: { parameters: ["usize", "buffer"], result: "i32" },
  // int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler errhandler)
  MPI_Comm_set_errhandler: { parameters: ["usize", "usize"], result: "i32" },
  // int MPI_Iallreduce(const void* sendbuf, void* recvbuf, int count, MPI_Datatype, MPI_Op, MPI_Comm,
  //   MPI_Request*)
  MPI_Iallreduce: {
    parameters: ["buffer", "buffer", "i32", "usize", "usize", "usize", "buffer"],
    result: "i32",
  },
  // int MPI_Ibcast(void* buffer, int count, MPI_Datatype, int root, MPI_Comm, MPI_Request*)
  MPI_Ibcast: {
    parameters: ["buffer", "i32", "usize", "i32", "usize", "buffer"],
    result: "i32",
  },
  // int MPI_Isend(const void* buf, int count, MPI_Datatype, int dest, int tag, MPI_Comm, MPI_Request*)
  MPI_Isend: {
    parameters: ["buffer", "i32", "usize", "i32", "i32", "usize", "buffer"],
    result: "i32",
  },
  // int MPI_Irecv(void* buf, int count, MPI_Datatype, int source, int tag, MPI_Comm, MPI_Request*)
  MPI_Irecv: {
    parameters: ["buffer", "i32", "usize", "i32", "i32", "usize", "buffer"],
    result: "i32",
  },
  // int MPI_Iprobe(int source, int tag, MPI_Comm, int* flag, MPI_Status* status)
  MPI_Iprobe: { parameters: ["i32", "i32", "usize", "buffer", "buffer"], result: "i32" },
  // int MPI_Test(MPI_Request* request, int* flag, MPI_Status* status)
  MPI_Test: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
  // int MPI_Error_string(int errorcode, char* string, int* resultlen)
  MPI_Error_string: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int MPI_Get_library_version(char* version, int* resultlen)
  MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
  // int MPI_Finalize(void)
  MPI_Finalize: { parameters: [], result: "i32", nonblocking: true },
  // int MPI_Abort(MPI_Comm comm, int errorcode)
  MPI_Abort: { parameters: ["usize", "i32"], result: "i32" },
} as const;

/** Longer than any MPI_MAX_LIBRARY_VERSION_STRING and MPI_MAX_ERROR_STRING. */
const TEXT_BYTES = 16384;
/** Longer than any MPI_Status. */
const STATUS_BYTES = 256;

/** A call of the library failed. */
export class MpiError extends Error {
  override name = "MpiError";
}

/** Numbers that are summed or sent. */
export type MpiNumbers = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** An opened library, between `MPI_Init_thread` and `MPI_Finalize`. */
export class Mpi {
  readonly #functions: Deno.DynamicLibrary<typeof FUNCTIONS>["symbols"];
  readonly #constants: MpiConstants;
  /** Number of this process, from 0. */
  readonly rank: number;
  /** Processes of the job. */
  readonly size: number;

  private constructor(
    functions: Deno.DynamicLibrary<typeof FUNCTIONS>["symbols"],
    constants: MpiConstants,
  ) {
    this.#functions = functions;
    this.#constants = constants;
    const number = new Int32Array(1);
    this.#check(functions.MPI_Comm_set_errhandler(constants.world, constants.errorsReturn));
    this.#check(functions.MPI_Comm_rank(constants.world, number));
    this.rank = number[0];
    this.#check(functions.MPI_Comm_size(constants.world, number));
    this.size = number[0];
  }

  /**
   * Opens a library and joins the job that started this process, once all of its processes do.
   *
   * @param path file, or name in the system's search path
   * @throws {MpiError} if it cannot be opened, or does not join
   */
  static async open(path: string, kind: MpiKind): Promise<Mpi> {
    try {
      const constants = constantsOf(path, kind);
      const functions = Deno.dlopen(path, FUNCTIONS).symbols;
      // What the library provides does not matter: all of them allow this much.
      const provided = new Int32Array(1);
      const code = await functions.MPI_Init_thread(null, null, THREAD_SERIALIZED[kind], provided);
      if (code !== 0) throw new MpiError(`${path} does not join the job: error ${code}`);
      return new Mpi(functions, constants);
    } catch (error) {
      if (error instanceof MpiError) throw error;
      throw new MpiError(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Name and release of the library. */
  get version(): string {
    const text = new Uint8Array(TEXT_BYTES);
    this.#check(this.#functions.MPI_Get_library_version(text, new Int32Array(1)));
    return textOf(text);
  }

  /** Begins to sum arrays of the same size of all ranks; `result` must not be `values`. */
  sum(values: MpiNumbers, result: MpiNumbers): MpiRequest {
    const { float, double, sum, world } = this.#constants;
    const type = values instanceof Float32Array ? float : double;
    return this.#begin(
      (request) =>
        this.#functions.MPI_Iallreduce(values, result, values.length, type, sum, world, request),
      [values, result],
    );
  }

  /** Begins to copy rank 0's bytes to all ranks. */
  broadcast(bytes: Uint8Array<ArrayBuffer>): MpiRequest {
    const { byte, world } = this.#constants;
    return this.#begin(
      (request) => this.#functions.MPI_Ibcast(bytes, bytes.length, byte, 0, world, request),
      [bytes],
    );
  }

  /** Begins to send bytes to a rank. */
  send(bytes: Uint8Array<ArrayBuffer>, rank: number, tag: number): MpiRequest {
    const { byte, world } = this.#constants;
    return this.#begin(
      (request) => this.#functions.MPI_Isend(bytes, bytes.length, byte, rank, tag, world, request),
      [bytes],
    );
  }

  /** Begins to receive as many bytes from a rank. */
  receive(bytes: Uint8Array<ArrayBuffer>, rank: number, tag: number): MpiRequest {
    const { byte, world } = this.#constants;
    return this.#begin(
      (request) => this.#functions.MPI_Irecv(bytes, bytes.length, byte, rank, tag, world, request),
      [bytes],
    );
  }

  /** Whether a message from a rank has come that nobody receives yet. */
  hasMessage(rank: number, tag: number): boolean {
    const flag = new Int32Array(1);
    const { world } = this.#constants;
    this.#check(
      this.#functions.MPI_Iprobe(rank, tag, world, flag, new Uint8Array(STATUS_BYTES)),
    );
    return flag[0] !== 0;
  }

  /** Leaves the job, once all ranks do. */
  async finalize(): Promise<void> {
    this.#check(await this.#functions.MPI_Finalize());
  }

  /** Ends the processes of all ranks, with this exit code. */
  abort(code: number): void {
    this.#functions.MPI_Abort(this.#constants.world, code);
  }

  #begin(
    call: (request: BigUint64Array<ArrayBuffer>) => number,
    buffers: readonly ArrayBufferView[],
  ): MpiRequest {
    const request = new BigUint64Array(1);
    this.#check(call(request));
    return new MpiRequest(
      request,
      buffers,
      (flag, status) => this.#check(this.#functions.MPI_Test(request, flag, status)),
    );
  }

  #check(code: number): void {
    if (code === 0) return;
    const text = new Uint8Array(TEXT_BYTES);
    this.#functions.MPI_Error_string(code, text, new Int32Array(1));
    throw new MpiError(`MPI: ${textOf(text) || `error ${code}`}`);
  }
}

/** What was begun; keeps its buffers until it is done. */
export class MpiRequest {
  readonly #flag = new Int32Array(1);
  readonly #status = new Uint8Array(STATUS_BYTES);
  readonly #test: (flag: Int32Array<ArrayBuffer>, status: Uint8Array<ArrayBuffer>) => void;

  constructor(
    readonly request: BigUint64Array<ArrayBuffer>,
    readonly buffers: readonly ArrayBufferView[],
    test: (flag: Int32Array<ArrayBuffer>, status: Uint8Array<ArrayBuffer>) => void,
  ) {
    this.#test = test;
  }

  /**
   * Whether it is done.
   *
   * @throws {MpiError} if it failed
   */
  test(): boolean {
    if (this.#flag[0] === 0) this.#test(this.#flag, this.#status);
    return this.#flag[0] !== 0;
  }
}

/**
 * Loads a library before Deno does, so that Open MPI's plugins find its symbols, and tells its constants.
 *
 * @throws {MpiError} if Open MPI's symbols are missing
 */
function constantsOf(path: string, kind: MpiKind): MpiConstants {
  const names = kind === "openmpi" ? Object.values(OPEN_MPI_SYMBOLS) : [];
  const addresses = loadGlobally(path, names);
  if (kind !== "openmpi") return kind === "standard" ? STANDARD : MPICH;
  const found = Object.entries(OPEN_MPI_SYMBOLS).map(([key, name], i) => {
    const address = addresses?.[i] ?? null;
    if (address === null) throw new MpiError(`${path} does not have ${name}`);
    return [key, BigInt(Deno.UnsafePointer.value(address))];
  });
  return Object.fromEntries(found);
}

const textOf = (bytes: Uint8Array<ArrayBuffer>) =>
  readCString(Deno.UnsafePointer.of(bytes)).split("\n")[0].trim();
