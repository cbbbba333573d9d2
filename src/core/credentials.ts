import { createHash, createHmac, hash, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { BareJid } from '../xmpp/jid.ts'
import { preparePassword } from '../xmpp/precis.ts'

export type ScramHash = 'SHA-1' | 'SHA-256'

/** What is kept in place of a password (RFC 5802 §3). */
export interface ScramKeys {
  readonly salt: Uint8Array
  readonly iterations: number
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

/** An account brought from elsewhere may have keys for one hash only. */
export type Credentials = { readonly [hash in ScramHash]?: ScramKeys }

/** Strongest first. */
export const SCRAM_HASHES: readonly ScramHash[] = ['SHA-256', 'SHA-1']

/** RFC 5802 §5.1 and RFC 7677 §4. */
export const MIN_ITERATIONS = 4096
export const DEFAULT_ITERATIONS = 10_000

const SALT_BYTES = 16

const algorithms = {
  'SHA-1': { digest: 'sha1', bytes: 20 },
  'SHA-256': { digest: 'sha256', bytes: 32 },
} as const satisfies Record<ScramHash, { digest: string; bytes: number }>

const derive = promisify(pbkdf2)

/**
 * The keys of a new password, with a salt of their own. Throws `PrecisError` for a password that
 * RFC 8265 §4 forbids, `RangeError` for too few iterations.
 */
export async function deriveCredentials(
  password: string,
  iterations: number = DEFAULT_ITERATIONS,
): Promise<Required<Credentials>> {
  if (iterations < MIN_ITERATIONS) {
    throw new RangeError(`SCRAM takes at least ${MIN_ITERATIONS} iterations`)
  }
  const prepared = preparePassword(password)
  const [sha256, sha1] = await Promise.all([
    deriveKeys('SHA-256', prepared, randomBytes(SALT_BYTES), iterations),
    deriveKeys('SHA-1', prepared, randomBytes(SALT_BYTES), iterations),
  ])
  return { 'SHA-256': sha256, 'SHA-1': sha1 }
}

/** RFC 5802 §3. `password` is prepared. */
export async function deriveKeys(
  hash: ScramHash,
  password: string,
  salt: Uint8Array,
  iterations: number,
): Promise<ScramKeys> {
  const { digest, bytes } = algorithms[hash]
  const salted = await derive(password, salt, iterations, bytes, digest)
  const clientKey = createHmac(digest, salted).update('Client Key').digest()
  const storedKey = createHash(digest).update(clientKey).digest()
  const serverKey = createHmac(digest, salted).update('Server Key').digest()
  return { salt, iterations, storedKey, serverKey }
}

/** Whether `password`, prepared, is the one behind `keys`; compared in constant time. */
export async function matches(hash: ScramHash, keys: ScramKeys, password: string) {
  const { storedKey } = await deriveKeys(hash, password, keys.salt, keys.iterations)
  // The lengths are equal unless the stored keys are damaged.
  return storedKey.length === keys.storedKey.length && timingSafeEqual(storedKey, keys.storedKey)
}

/**
 * Keys for accounts that do not exist: always the same for one address, and nobody has the
 * password, so that neither the challenge nor the time it takes tells who has an account.
 */
export class DecoyCredentials {
  readonly #secret: Uint8Array
  readonly #iterations: number

  /** @param secret as old as the accounts: a salt that changes with a restart would be telling */
  constructor(secret: Uint8Array, iterations: number) {
    this.#secret = secret
    this.#iterations = iterations
  }

  keys(account: BareJid, hash: ScramHash): ScramKeys {
    const { bytes } = algorithms[hash]
    return {
      salt: this.#bytes('salt', account, hash).subarray(0, SALT_BYTES),
      iterations: this.#iterations,
      storedKey: this.#bytes('stored key', account, hash).subarray(0, bytes),
      serverKey: this.#bytes('server key', account, hash).subarray(0, bytes),
    }
  }

  #bytes(purpose: string, account: BareJid, hash: ScramHash): Buffer {
    return createHmac('sha256', this.#secret)
      .update(`${purpose}\0${hash}\0${account.full}`)
      .digest()
  }
}

export interface VerifiedPasswordsOptions {
  /** Default 10 minutes. */
  readonly forMs?: number
  /** Default 10000. */
  readonly maxEntries?: number
  readonly now?: () => number
}

/**
 * Passwords found right a short while ago, so that a client that logs in with PLAIN again and again
 * costs one hash instead of thousands. Only keyed hashes are kept, under a secret of this process;
 * they include the stored key, so a change of password makes them worthless.
 */
export class VerifiedPasswords {
  readonly #secret = randomBytes(32)
  /** Until when, by hash; oldest first. */
  readonly #until = new Map<string, number>()
  readonly #forMs: number
  readonly #maxEntries: number
  readonly #now: () => number

  constructor(options: VerifiedPasswordsOptions = {}) {
    this.#forMs = options.forMs ?? 10 * 60_000
    this.#maxEntries = options.maxEntries ?? 10_000
    this.#now = options.now ?? (() => performance.now())
  }

  has(account: BareJid, storedKey: Uint8Array, password: string): boolean {
    const hash = this.#hash(account, storedKey, password)
    const until = this.#until.get(hash)
    if (until === undefined) return false
    if (this.#now() < until) return true
    this.#until.delete(hash)
    return false
  }

  add(account: BareJid, storedKey: Uint8Array, password: string): void {
    const hash = this.#hash(account, storedKey, password)
    this.#until.delete(hash)
    if (this.#until.size >= this.#maxEntries) this.#forgetOldest()
    // Whole numbers take no room of their own.
    this.#until.set(hash, Math.ceil(this.#now()) + this.#forMs)
  }

  get size(): number {
    return this.#until.size
  }

  #forgetOldest(): void {
    for (const hash of this.#until.keys()) {
      this.#until.delete(hash)
      return
    }
  }

  /**
   * No address contains NUL, and the length of the stored key is told: nothing runs together. Nobody sees
   * a hash, so the secret in front of it is enough; an HMAC costs five times as much. All at once: an object
   * that hashes bit by bit costs more than the hashing.
   */
  #hash(account: BareJid, storedKey: Uint8Array, password: string): string {
    const who = Buffer.from(`${account.full}\0${storedKey.length}\0`)
    const all = Buffer.concat([this.#secret, who, storedKey, Buffer.from(password)])
    return hash('sha256', all, 'latin1')
  }
}
