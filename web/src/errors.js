/** What a user can mend: one line that says how. */
export class BDFlowError extends Error {
  name = "BDFlowError";
}
