/** The messages of SCRAM, read (RFC 5802 §7): syntax only, no judgement of what they say. */
import { decodeBase64 } from './base64.ts'
import { decodeText } from './mechanism.ts'

/** `y`: the client could bind but thinks that the server cannot (RFC 5802 §6). */
export type BindingFlag = 'n' | 'y' | 'p'

export interface ClientFirstMessage {
  /** `gs2-header`, with its last comma. */
  readonly header: string
  readonly flag: BindingFlag
  /** Name of the binding type; with flag `p` only. */
  readonly bindingType: string | undefined
  readonly authzid: string | undefined
  /** `client-first-message-bare`. */
  readonly bare: string
  readonly name: string
  readonly nonce: string
}

export interface ClientFinalMessage {
  /** Content of `c=`. */
  readonly binding: Buffer
  readonly nonce: string
  readonly proof: Buffer
  readonly withoutProof: string
}

const GS2_HEADER = /^(?:([ny])|p=([A-Za-z0-9.-]+)),(?:a=([^,]+))?,/
const PRINTABLE = /^[\x21-\x2b\x2d-\x7e]+$/
const EXTENSION = /^[A-Za-z]=[^\0]+$/
const ESCAPE = /=(.{0,2})/gs

/** `undefined` for what breaks the grammar, mandatory extensions (`m=`) included. */
export function readClientFirst(data: Buffer): ClientFirstMessage | undefined {
  const message = decodeText(data)
  const gs2 = message?.match(GS2_HEADER)
  if (message === undefined || !gs2) return undefined
  const [header, flag, bindingType] = gs2
  const authzid = gs2[3] === undefined ? undefined : unescapeName(gs2[3])
  if (gs2[3] !== undefined && authzid === undefined) return undefined

  const bare = message.slice(header.length)
  const [first = '', second = '', ...extensions] = bare.split(',')
  const name = unescapeName(attribute('n', first))
  const nonce = attribute('r', second)
  if (name === undefined || !PRINTABLE.test(nonce) || !areExtensions(extensions)) return undefined
  return {
    header,
    flag: bindingType === undefined ? (flag as 'n' | 'y') : 'p',
    bindingType,
    authzid,
    bare,
    name,
    nonce,
  }
}

export function readClientFinal(data: Buffer): ClientFinalMessage | undefined {
  const message = decodeText(data)
  if (message === undefined) return undefined
  const withoutProof = message.slice(0, Math.max(0, message.lastIndexOf(',')))
  const [first = '', second = '', ...extensions] = withoutProof.split(',')
  const binding = decodeBase64(attribute('c', first))
  const nonce = attribute('r', second)
  const proof = decodeBase64(attribute('p', message.slice(withoutProof.length + 1)))
  if (!binding?.length || !proof?.length) return undefined
  if (!PRINTABLE.test(nonce) || !areExtensions(extensions)) return undefined
  return { binding, nonce, proof, withoutProof }
}

/** The value in `name=value`; empty where there is something else. */
function attribute(name: string, text: string): string {
  return text.startsWith(`${name}=`) ? text.slice(2) : ''
}

/** Unknown ones are optional and passed over; `m` must not be (RFC 5802 §5.1). */
function areExtensions(extensions: readonly string[]): boolean {
  return extensions.every((text) => EXTENSION.test(text) && !text.startsWith('m='))
}

/** `saslname`: `,` and `=` stand as `=2C` and `=3D`, and no `=` stands otherwise. */
function unescapeName(name: string): string | undefined {
  if (name === '' || name.includes('\0')) return undefined
  let isValid = true
  const unescaped = name.replace(ESCAPE, (_, code: string) => {
    if (code === '2C') return ','
    if (code === '3D') return '='
    isValid = false
    return ''
  })
  return isValid ? unescaped : undefined
}
