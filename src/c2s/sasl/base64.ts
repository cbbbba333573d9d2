/** The content of `<auth/>`, `<challenge/>`, `<response/>` and `<success/>` (RFC 6120 §6.4). */
import { type Failure, failure } from './mechanism.ts'

/** Room for two addresses and a password of the greatest size (RFC 7622 §3.1, RFC 8265 §4). */
const MAX_CHARACTERS = 8192

/** A single `=`: data there is, but it is empty (RFC 6120 §6.4.2). */
const EMPTY = '='

/** Strict and canonical: no white space, no missing padding, no stray bits (RFC 4648 §3). */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/** Text of `<auth/>`; none means that there is no initial response. */
export function decodeInitialResponse(text: string): Buffer | undefined | Failure {
  return text === '' ? undefined : decodeResponse(text)
}

/** Text of `<response/>`. */
export function decodeResponse(text: string): Buffer | Failure {
  if (text.length > MAX_CHARACTERS) return failure('malformed-request', 'too long')
  const bytes = text === EMPTY ? Buffer.alloc(0) : decodeBase64(text)
  return bytes ?? failure('incorrect-encoding')
}

/** Text for `<challenge/>` and `<success/>`, where empty data is no text at all. */
export function encodeData(data: Buffer): string {
  return data.toString('base64')
}
