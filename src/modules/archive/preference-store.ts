import type { Coherence } from '../../core/coherence.ts'
import { domainOf } from '../../core/owned-data.ts'
import type { Migration, Storage } from '../../core/storage.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import type { DefaultMode, Preferences } from './preferences.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /** `always` and `never` are JSON arrays of addresses. */
    archive_preferences: { owner: string; default_mode: string; always: string; never: string }
  }
}

export const preferencesMigration: Migration = {
  name: 'archive/0002-preferences',
  async up(db, types) {
    await db.schema
      .createTable('archive_preferences')
      .addColumn('owner', types.text, (column) => column.primaryKey())
      .addColumn('default_mode', types.text, (column) => column.notNull())
      .addColumn('always', types.text, (column) => column.notNull())
      .addColumn('never', types.text, (column) => column.notNull())
      .execute()
  },
}

const SELECT = 'select default_mode, always, never from archive_preferences where owner = ?'
const UPSERT =
  'insert into archive_preferences (owner, default_mode, always, never) values (?, ?, ?, ?)' +
  ' on conflict (owner) do update set default_mode = excluded.default_mode,' +
  ' always = excluded.always, never = excluded.never'
const DELETE = 'delete from archive_preferences where owner = ?'

const NO_ONE = { always: new Set<string>(), never: new Set<string>() }

type Row = { default_mode: string; always: string; never: string }

/**
 * What accounts want archived. Asked for every message: those loaded last are answered
 * at once.
 */
export class PreferenceStore {
  readonly #storage: Storage
  readonly #coherence: Coherence | undefined
  readonly #defaultFor: (domain: string) => DefaultMode
  readonly #maxCached: number
  /** By bare JID, the longest kept first. */
  readonly #cached = new Map<string, Preferences | Promise<Preferences>>()

  /** `defaultFor` is what the accounts of a domain have that have said nothing. */
  constructor(
    storage: Storage,
    defaultFor: (domain: string) => DefaultMode,
    maxCached: number,
    coherence?: Coherence,
  ) {
    this.#storage = storage
    this.#coherence = coherence
    this.#defaultFor = defaultFor
    this.#maxCached = maxCached
  }

  /** A promise only if the database is asked. */
  get(owner: string): Preferences | Promise<Preferences> {
    return this.#cached.get(owner) ?? this.#load(owner)
  }

  /** What an account has said itself. */
  async own(owner: BareJid): Promise<Preferences | undefined> {
    const [row] = await this.#storage.read<Row>(SELECT, [owner.bare])
    return row === undefined ? undefined : toPreferences(row)
  }

  async set(owner: BareJid, { defaultMode, always, never }: Preferences): Promise<void> {
    const lists = [JSON.stringify([...always]), JSON.stringify([...never])] as const
    try {
      await this.#storage.write(UPSERT, [owner.bare, defaultMode, ...lists])
    } finally {
      this.forget(owner.bare)
      await this.#coherence?.changed(owner.bare)
    }
  }

  /** What is at hand of an account may be old. */
  forget(owner: string): void {
    this.#cached.delete(owner)
  }

  /** What accounts have that have said nothing may be another from now on. */
  forgetAll(): void {
    this.#cached.clear()
  }

  async remove(owner: BareJid): Promise<void> {
    try {
      await this.#storage.write(DELETE, [owner.bare])
    } finally {
      this.forget(owner.bare)
      await this.#coherence?.changed(owner.bare)
    }
  }

  #load(owner: string): Promise<Preferences> {
    const loading = this.#read(owner)
    this.#keep(owner, loading)
    loading.then(
      (preferences) => {
        // Unless they were changed meanwhile.
        if (this.#cached.get(owner) === loading) this.#keep(owner, preferences)
      },
      () => this.#cached.delete(owner),
    )
    return loading
  }

  async #read(owner: string): Promise<Preferences> {
    const [row] = await this.#storage.read<Row>(SELECT, [owner])
    if (row === undefined) return { defaultMode: this.#defaultFor(domainOf(owner)), ...NO_ONE }
    return toPreferences(row)
  }

  #keep(owner: string, preferences: Preferences | Promise<Preferences>): void {
    this.#cached.delete(owner)
    this.#cached.set(owner, preferences)
    if (this.#cached.size <= this.#maxCached) return
    for (const oldest of this.#cached.keys()) {
      this.#cached.delete(oldest)
      break
    }
  }
}

function toPreferences(row: Row): Preferences {
  return {
    defaultMode: row.default_mode as DefaultMode,
    always: new Set(JSON.parse(row.always) as string[]),
    never: new Set(JSON.parse(row.never) as string[]),
  }
}
