import type { SqlValue, Statement } from '../../core/storage.ts'
import type { ArchivedMessage } from './store.ts'

const INSERT = 'insert into archive (owner, id, peer, resource, is_groupchat, xml)'
/** One statement for many rows costs less than many statements. */
const statementsFor = (
  counts: readonly number[],
  textOf: (values: string) => string,
  row: string,
) => counts.map((count) => ({ count, sql: textOf(Array(count).fill(row).join(', ')) }))
const INSERT_EACH = statementsFor(
  [32, 8, 1],
  (values) => `${INSERT} values ${values} on conflict do nothing`,
  '(?, ?, ?, ?, ?, ?)',
)
/** Into the archives of both at once: what they have alike is handed over once. */
const INSERT_BOTH = statementsFor(
  [16, 4, 1],
  (values) => `${INSERT}
    with message (one, of_one, other, of_other, id, is_groupchat, xml) as (values ${values})
    select case side when 1 then one else other end, id, case side when 1 then other else one end,
      case side when 1 then of_other else of_one end, is_groupchat, xml
    from message cross join (select 1 as side union all select 2) as sides
    where true on conflict do nothing`,
  '(?, ?, ?, ?, ?, cast(? as integer), ?)',
)

/** The same message in the archive of the other. */
function isCounterpart(one: ArchivedMessage, other: ArchivedMessage): boolean {
  return (
    one.id === other.id &&
    one.owner === other.peer.bare &&
    other.owner === one.peer.bare &&
    one.isGroupchat === other.isGroupchat &&
    one.xml === other.xml
  )
}

/** What puts messages into archives. What one has already stays as it is. */
export function insertions(messages: readonly ArchivedMessage[]): Statement[] {
  const each: ArchivedMessage[] = []
  const both: [ArchivedMessage, ArchivedMessage][] = []
  let isLastOfBoth = false
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i] as ArchivedMessage
    const next = messages[i + 1]
    isLastOfBoth = next !== undefined && isCounterpart(message, next)
    if (next !== undefined && isLastOfBoth) {
      both.push([message, next])
      i++
    } else {
      each.push(message)
    }
  }
  const intoEach = insertionsOf(INSERT_EACH, each, (message, parameters) => {
    const { owner, id, peer, isGroupchat, xml } = message
    parameters.push(owner, id, peer.bare, peer.resource, isGroupchat ? 1 : 0, xml)
  })
  const intoBoth = insertionsOf(INSERT_BOTH, both, ([one, { peer: sameOne }], parameters) => {
    const { owner, id, peer, isGroupchat, xml } = one
    const ofOne = sameOne.resource
    parameters.push(owner, ofOne, peer.bare, peer.resource, id, isGroupchat ? 1 : 0, xml)
  })
  // The newest comes last, where it is looked for after a start.
  return isLastOfBoth ? [...intoEach, ...intoBoth] : [...intoBoth, ...intoEach]
}

function insertionsOf<T>(
  texts: typeof INSERT_EACH,
  units: readonly T[],
  add: (unit: T, parameters: SqlValue[]) => void,
): Statement[] {
  const statements: Statement[] = []
  let next = 0
  for (const { count, sql } of texts) {
    while (units.length - next >= count) {
      const parameters: SqlValue[] = []
      for (const end = next + count; next < end; next++) add(units[next] as T, parameters)
      statements.push({ sql, parameters })
    }
  }
  return statements
}
