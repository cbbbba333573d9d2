/** What of the configuration is shown to nobody: neither in errors nor in lists of changes. */
import type { Path } from './positions.ts'

/** How many passwords may be wrong is none. */
const SECRET = /(?<!^wrong_)password|secret|token|passphrase/i

/** `://user:password@`, up to the last `@`, for the address may be written wrong. */
const PASSWORD_IN_ADDRESS = /((?::|\/\/)\/*[^/:@]*:).*@/s

export function isSecret(path: Path): boolean {
  return path.some((step) => SECRET.test(String(step)))
}

/** An address, such as that of a database, without its password; any other text as it is. */
export function withoutPasswords(text: string): string {
  return text.replace(PASSWORD_IN_ADDRESS, '$1…@')
}
