import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Caller, ROLES, type Role } from '../core/command-access.ts'
import type { Migration, Storage } from '../core/storage.ts'

declare module '../core/storage.ts' {
  interface Schema {
    /**
     * Tokens of the HTTP API: never themselves, only SHA-256 of them. Times in milliseconds since the
     * epoch; `domains` is a JSON array, or '' for all.
     */
    admin_token: {
      id: string
      hash: string
      name: string
      role: string
      domains: string
      created_at: number
      expires_at: number | null
      last_used_at: number | null
    }
  }
}

export const tokenMigrations: readonly Migration[] = [
  {
    name: 'admin/0001-tokens',
    async up(db, types) {
      await db.schema
        .createTable('admin_token')
        .addColumn('id', types.text, (column) => column.primaryKey())
        .addColumn('hash', types.text, (column) => column.notNull())
        .addColumn('name', types.text, (column) => column.notNull())
        .addColumn('role', types.text, (column) => column.notNull())
        .addColumn('domains', types.text, (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('expires_at', 'bigint')
        .addColumn('last_used_at', 'bigint')
        .execute()
    },
  },
]

/** What is known of a token; times in milliseconds since the epoch. */
export type Token = {
  /** The part of it that is no secret. */
  readonly id: string
  /** What it is for. */
  readonly name: string
  readonly role: Role
  /** All if absent. */
  readonly domains: readonly string[] | undefined
  readonly createdAt: number
  /** Never if absent. */
  readonly expiresAt: number | undefined
  readonly lastUsedAt: number | undefined
}

/** So that it is found when it lies about where it should not. */
const PREFIX = 'meerkat_'
const ID_BYTES = 6
const SECRET_BYTES = 32
const FORM = /^meerkat_([0-9a-f]{12})\.([A-Za-z0-9_-]{43})$/
/** Of what a use is noted at most once, milliseconds. */
const NOTED_EVERY = 60_000
/** As long as a hash, and of nothing. */
const NO_HASH = Buffer.alloc(32)

const LIMITED = "select id, domains from admin_token where domains <> ''"
const LIMIT = 'update admin_token set domains = ? where id = ?'
const REMOVE = 'delete from admin_token where id = ?'

type Options = { readonly storage: Storage; readonly now: () => number }

/**
 * Tokens of the HTTP API. A secret of 256 random bits cannot be guessed, so one round of SHA-256
 * keeps it: whoever reads the table cannot use what stands there.
 */
export class Tokens {
  readonly #storage: Storage
  readonly #now: () => number

  constructor({ storage, now }: Options) {
    this.#storage = storage
    this.#now = now
  }

  /** The token's text is told here and never again. */
  async create(
    wanted: Pick<Token, 'name' | 'role' | 'domains' | 'expiresAt'>,
  ): Promise<{ readonly token: string; readonly id: string }> {
    const id = randomBytes(ID_BYTES).toString('hex')
    const secret = randomBytes(SECRET_BYTES).toString('base64url')
    await this.#storage.db
      .insertInto('admin_token')
      .values({
        id,
        hash: hashOf(secret).toString('hex'),
        name: wanted.name,
        role: wanted.role,
        domains: wanted.domains === undefined ? '' : JSON.stringify(wanted.domains),
        created_at: this.#now(),
        expires_at: wanted.expiresAt ?? null,
        last_used_at: null,
      })
      .execute()
    return { token: `${PREFIX}${id}.${secret}`, id }
  }

  /** Oldest first. */
  async list(): Promise<readonly Token[]> {
    const rows = await this.#storage.db
      .selectFrom('admin_token')
      .selectAll()
      .orderBy('created_at')
      .execute()
    return rows.flatMap((row) => tokenOf(row) ?? [])
  }

  /** From now on nobody gets in with it. False: there is none. */
  async revoke(id: string): Promise<boolean> {
    const [result] = await this.#storage.db.deleteFrom('admin_token').where('id', '=', id).execute()
    return Number(result?.numDeletedRows ?? 0) > 0
  }

  /** Who gives commands with this token; `undefined`: nobody, whatever the reason. */
  async verify(text: string): Promise<(Caller & { readonly id: string }) | undefined> {
    const [, id, secret] = FORM.exec(text) ?? []
    // Whatever else strangers send costs no look into the storage.
    if (id === undefined || secret === undefined) return undefined
    const row = await this.#storage.db
      .selectFrom('admin_token')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst()
    // As long for a token that is not there as for one that is wrong.
    const known = row === undefined ? NO_HASH : Buffer.from(row.hash, 'hex')
    const isRight = timingSafeEqual(known, hashOf(secret))
    const token = row && isRight ? tokenOf(row) : undefined
    const now = this.#now()
    if (token === undefined || now >= (token.expiresAt ?? Number.POSITIVE_INFINITY)) {
      return undefined
    }
    if (now - (token.lastUsedAt ?? 0) > NOTED_EVERY) {
      // A storage that takes no writes, for its disk is full, is when it is needed most.
      await this.#note(id, now).catch(() => {})
    }
    return { id, name: `token ${id}`, role: token.role, domains: token.domains }
  }

  async #note(id: string, now: number): Promise<void> {
    await this.#storage.db
      .updateTable('admin_token')
      .set({ last_used_at: now })
      .where('id', '=', id)
      .execute()
  }
}

/**
 * Whoever gets a domain later is somebody else: tokens for nothing but this one go, others are good for
 * one domain less. Yields the number of rows.
 */
export async function* removeFromTokens(storage: Storage, domain: string): AsyncIterable<number> {
  const limited = await storage.read<{ id: string; domains: string }>(LIMITED, [])
  for (const { id, domains: before } of limited) {
    const domains = JSON.parse(before) as string[]
    const left = domains.filter((each) => each !== domain)
    if (left.length === domains.length) continue
    const { changes } = await (left.length === 0
      ? storage.write(REMOVE, [id])
      : storage.write(LIMIT, [JSON.stringify(left), id]))
    yield changes
  }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

type Row = {
  readonly id: string
  readonly name: string
  readonly role: string
  readonly domains: string
  readonly created_at: number
  readonly expires_at: number | null
  readonly last_used_at: number | null
}

/** `undefined` for a role of another release, which nobody here knows the limits of. */
function tokenOf(row: Row): Token | undefined {
  const role = ROLES.find((known) => known === row.role)
  if (role === undefined) return undefined
  return {
    id: row.id,
    name: row.name,
    role,
    domains: row.domains === '' ? undefined : (JSON.parse(row.domains) as string[]),
    createdAt: row.created_at,
    expiresAt: row.expires_at ?? undefined,
    lastUsedAt: row.last_used_at ?? undefined,
  }
}
