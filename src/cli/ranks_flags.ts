/** The flags of verbs whose work several boards share. */
import { RANKS_PARAMETERS as P } from "../distributed/job.ts";
import { integer } from "./flags.ts";

/** Their heading. */
export const RANKS = "Several boards (under mpirun)";

export const RANKS_FLAGS = {
  collectiveTimeout: integer("Seconds after which a rank that does not answer counts as lost", {
    ...P.collectiveTimeout,
    placeholder: "SECONDS",
    group: RANKS,
  }),
} as const;
