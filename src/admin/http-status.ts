import type { CommandErrorCode } from '../core/command-error.ts'

/** With which status (RFC 9110 §15) a refusal is answered. */
export const STATUS = {
  invalid: 400,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  unavailable: 503,
} as const satisfies Record<CommandErrorCode, number>

export function isCode(text: string): text is CommandErrorCode {
  return Object.hasOwn(STATUS, text)
}
