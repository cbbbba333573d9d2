import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'

export type ChannelBinding = {
  readonly type: 'tls-exporter' | 'tls-server-end-point'
  readonly data: Buffer
}

/**
 * The client's side of SCRAM (RFC 5802, RFC 7677), for one authentication. `remembered`: salted passwords,
 * which a client may keep from one to the next.
 */
export class ScramClient {
  readonly #hash: 'sha1' | 'sha256'
  readonly #password: string
  readonly #gs2: string
  readonly #binding: ChannelBinding | undefined
  readonly #bare: string
  readonly #remembered: Map<string, Buffer>
  #serverSignature = ''

  constructor(
    mechanism: string,
    credentials: { readonly localpart: string; readonly password: string },
    binding?: ChannelBinding,
    remembered = new Map<string, Buffer>(),
  ) {
    this.#hash = mechanism.startsWith('SCRAM-SHA-256') ? 'sha256' : 'sha1'
    this.#password = credentials.password
    this.#binding = binding
    this.#remembered = remembered
    this.#gs2 = binding === undefined ? 'n,,' : `p=${binding.type},,`
    const name = credentials.localpart.replaceAll('=', '=3D').replaceAll(',', '=2C')
    this.#bare = `n=${name},r=${randomBytes(18).toString('base64')}`
  }

  get first(): string {
    return this.#gs2 + this.#bare
  }

  /** Answers the server's first message. */
  final(serverFirst: string): string {
    const fields = fieldsOf(serverFirst)
    const salted = this.#salted(fields.s ?? '', Number(fields.i))
    const clientKey = this.#hmac(salted, 'Client Key')
    const storedKey = createHash(this.#hash).update(clientKey).digest()
    const binding = Buffer.concat([
      Buffer.from(this.#gs2),
      this.#binding?.data ?? Buffer.alloc(0),
    ]).toString('base64')
    const withoutProof = `c=${binding},r=${fields.r}`
    const signed = `${this.#bare},${serverFirst},${withoutProof}`
    const signature = this.#hmac(storedKey, signed)
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] as number))
    const serverKey = this.#hmac(salted, 'Server Key')
    this.#serverSignature = this.#hmac(serverKey, signed).toString('base64')
    return `${withoutProof},p=${Buffer.from(proof).toString('base64')}`
  }

  /** Whether the server knows the password, too. */
  verifies(serverFinal: string): boolean {
    return fieldsOf(serverFinal).v === this.#serverSignature
  }

  #salted(salt: string, rounds: number): Buffer {
    const all = [this.#hash, salt, rounds, this.#password].join(' ')
    let salted = this.#remembered.get(all)
    if (salted === undefined) {
      const bytes = this.#hash === 'sha1' ? 20 : 32
      const octets = Buffer.from(salt, 'base64')
      salted = pbkdf2Sync(this.#password, octets, rounds, bytes, this.#hash)
      this.#remembered.set(all, salted)
    }
    return salted
  }

  #hmac(key: Buffer, text: string): Buffer {
    return createHmac(this.#hash, key).update(text).digest()
  }
}

function fieldsOf(message: string): Readonly<Record<string, string>> {
  return Object.fromEntries(message.split(',').map((field) => [field[0], field.slice(2)]))
}
