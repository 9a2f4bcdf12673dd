/** The verbs of the command line, each loaded only when it is called. */
import type { Verbs } from "./command.ts";

/** Loader of each verb's file, in the order of the help. */
export const VERBS: Verbs = {
  quickstart: () => import("./quickstart.ts"),
  train: () => import("./train.ts"),
  merge: () => import("./merge.ts"),
  run: () => import("./run.ts"),
  eval: () => import("./eval.ts"),
  inspect: () => import("./inspect.ts"),
  quantize: () => import("./quantize.ts"),
  pull: () => import("./pull.ts"),
  list: () => import("./list.ts"),
  show: () => import("./show.ts"),
  rm: () => import("./rm.ts"),
  bench: () => import("./bench.ts"),
  doctor: () => import("./doctor.ts"),
  service: () => import("./service.ts"),
  completion: () => import("./completion.ts"),
  licenses: () => import("./licenses.ts"),
};
