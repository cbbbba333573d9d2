import { Roster, type RosterEdit } from './roster.ts'
import type { RosterStore } from './store.ts'

/** For tests and for accounts that need not last. */
export function memoryRosterStore(): RosterStore {
  const kept = new Map<string, Roster>()
  const copy = (roster: Roster) => new Roster(roster.version, roster.removedAt, [...roster.all()])
  const of = (owner: string) => kept.get(owner) ?? new Roster(0, 0, [])
  return {
    async load(owner) {
      return copy(of(owner.full))
    },
    async save(owner, edit: RosterEdit) {
      const roster = of(owner.full)
      roster.apply(edit)
      kept.set(owner.full, roster)
    },
    async removeAll(owner) {
      kept.delete(owner.full)
    },
  }
}
