/** Functions of the C library without an equivalent in Deno. Linux with glibc. */
import { cString, type Handle, readCString } from "./pointer.ts";

const SYMBOLS = {
  // int open(const char* pathname, int flags)
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
  // void* mmap(void* addr, size_t length, int prot, int flags, int fd, off_t offset)
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  // int munmap(void* addr, size_t length)
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  // int madvise(void* addr, size_t length, int advice)
  madvise: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  // int mallopt(int param, int value)
  mallopt: { parameters: ["i32", "i32"], result: "i32" },
  // int* __errno_location(void)
  __errno_location: { parameters: [], result: "pointer" },
  // int malloc_trim(size_t pad)
  malloc_trim: { parameters: ["usize"], result: "i32" },
  // int usleep(useconds_t usec)
  usleep: { parameters: ["u32"], result: "i32", nonblocking: true },
  // char* strerror(int errnum)
  strerror: { parameters: ["i32"], result: "pointer" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;
const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MADV_DONTNEED = 4;
/** The smallest page size; with larger pages, the system may refuse addresses inside a page. */
const PAGE_BYTES = 4096n;
/** `(void*) -1` */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** The message of this thread's last failed call. */
function lastError(): string {
  const errno = libc().__errno_location();
  if (errno === null) return "unknown error";
  return readCString(libc().strerror(new Deno.UnsafePointerView(errno).getInt32()));
}

/** A mapping of a file; end it with {@linkcode unmap}. */
export interface Mapping {
  readonly address: Handle;
  readonly sizeBytes: number;
}

/**
 * Maps `sizeBytes` (at least 1) of a file read-only.
 *
 * @param offset offset in the file: a multiple of the system's page size
 * @throws {Error} with the C library's reason
 */
export function mapReadOnly(path: string, sizeBytes: number, offset = 0): Mapping {
  const { open, mmap, close } = libc();
  const fd = open(cString(path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw new Error(lastError());
  try {
    const address = mmap(null, BigInt(sizeBytes), PROT_READ, MAP_PRIVATE, fd, BigInt(offset));
    if (address === null || BigInt(Deno.UnsafePointer.value(address)) === MAP_FAILED) {
      throw new Error(lastError());
    }
    return { address, sizeBytes };
  } finally {
    // The mapping keeps the file open.
    close(fd);
  }
}

/** Ends a mapping, which must not be read any more. */
export function unmap({ address, sizeBytes }: Mapping): void {
  if (libc().munmap(address, BigInt(sizeBytes)) !== 0) throw new Error(lastError());
}

/**
 * Releases the pages that are entirely in `bytes`, which must be part of a {@linkcode Mapping}; later
 * reads load them from the file again.
 *
 * @returns whether there was such a page and the system released it
 */
export function forgetPages(bytes: Uint8Array<ArrayBuffer>): boolean {
  if (bytes.byteLength === 0) return false;
  const start = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
  const first = (start + PAGE_BYTES - 1n) / PAGE_BYTES * PAGE_BYTES;
  const last = (start + BigInt(bytes.byteLength)) / PAGE_BYTES * PAGE_BYTES;
  if (last <= first) return false;
  return libc().madvise(Deno.UnsafePointer.create(first), last - first, MADV_DONTNEED) === 0;
}

// Parameters of glibc's `mallopt`.
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;

/**
 * Prevents the C library from keeping freed memory: threads share the existing heaps, and blocks of at
 * least `bytes` are separate mappings, which return to the system when they are freed.
 */
export function limitHeaps(bytes: number): void {
  const { mallopt } = libc();
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, bytes);
  mallopt(M_TRIM_THRESHOLD, bytes);
}

/** Returns freed pages to the system. */
export function trimHeap(): void {
  libc().malloc_trim(0n);
}

const RTLD_LAZY = 1;
const RTLD_GLOBAL = 0x100;
const RTLD_NODELETE = 0x1000;

const LOADER = {
  // void* dlopen(const char* filename, int flags)
  dlopen: { parameters: ["buffer", "i32"], result: "pointer", optional: true },
  // void* dlsym(void* handle, const char* symbol)
  dlsym: { parameters: ["pointer", "buffer"], result: "pointer", optional: true },
} as const;

/** Libraries with `dlopen`: the C library since glibc 2.34, before that a separate one. */
const LOADER_LIBRARIES = ["libc.so.6", "libdl.so.2"];

/**
 * Opens a library by the first `dlopen` that there is, and looks up symbols in it.
 *
 * @returns addresses of the symbols, null for those that it lacks; `undefined` if it was not opened
 */
function load(
  path: string,
  flags: number,
  symbols: readonly string[],
  libraries = LOADER_LIBRARIES,
): readonly Deno.PointerValue[] | undefined {
  for (const name of libraries) {
    const library = Deno.dlopen(name, LOADER);
    try {
      const { dlopen, dlsym } = library.symbols;
      const handle = dlopen?.(cString(path), flags);
      if (handle === null) return undefined;
      if (handle !== undefined) return symbols.map((symbol) => dlsym!(handle, cString(symbol)));
    } finally {
      library.close();
    }
  }
  return undefined;
}

/**
 * Keeps an open library in memory until the process ends. Deno unloads a worker's libraries with the
 * worker, while other threads that called into them still have to run destructors there.
 *
 * @param libraries names of the libraries in which to look for `dlopen`
 * @returns whether one has it and opened the path
 */
export function keepLoaded(path: string, libraries = LOADER_LIBRARIES): boolean {
  return load(path, RTLD_LAZY | RTLD_NODELETE, [], libraries) !== undefined;
}

/**
 * Loads a library whose plugins look for its symbols among those of the whole process.
 *
 * @returns addresses of its symbols, null for those that it lacks; `undefined` if it cannot be loaded
 */
export function loadGlobally(
  path: string,
  symbols: readonly string[],
): readonly Deno.PointerValue[] | undefined {
  return load(path, RTLD_LAZY | RTLD_GLOBAL, symbols);
}

/** Lets another thread sleep, and resolves afterwards; the event loop is idle meanwhile. */
export async function sleepElsewhere(microseconds: number): Promise<void> {
  await libc().usleep(microseconds);
}
