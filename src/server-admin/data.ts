import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CommandError } from '../admin/command.ts'
import type { AdminData, Place } from '../admin/commands/data.ts'
import { whyUnusable } from '../config/paths.ts'
import type { CommandCall } from '../core/command.ts'
import { resultOf } from '../core/hooks.ts'
import { NOT_TAKEN } from '../core/user-data.ts'
import type { Server } from '../server.ts'
import { UserDataError, type UserDataEvent } from '../user-data/events.ts'
import { serverData } from '../user-data/export.ts'
import { type ImportTarget, importUsers } from '../user-data/import.ts'
import { FileExistsError, writeNewFile } from '../user-data/new-file.ts'
import { readProsodyData } from '../user-data/prosody.ts'
import { readServerData } from '../user-data/xep0227.ts'

/** Below the data directory: where relative paths start. */
export const TRANSFER = 'transfer'

export function adminData(server: Server): AdminData {
  const { accounts, hooks, routes } = server
  const typeOf = (domain: string) => routes.find(domain)?.domainType
  // From whoever is not trusted only plain names come.
  const pathOf = ({ path }: Place) => resolve(server.config.data_dir, TRANSFER, path)
  const source = {
    find: accounts.find.bind(accounts),
    parts: async (account: Parameters<typeof accounts.find>[0]) => {
      const point = hooks.at('export_user_data', typeOf(account.domain))
      return resultOf(await point.run([], { account }), [])
    },
  }
  const target: ImportTarget = {
    isServed: (domain) => routes.isHosted(domain),
    find: accounts.find.bind(accounts),
    create: (account) => server.lifecycle.import(account),
    setKeys: (account, keys) => accounts.setKeys(account, keys),
    derive: (password) => accounts.derive(password),
    take: async (account, portion) => {
      const point = hooks.at('import_user_data', typeOf(account.domain))
      return resultOf(await point.run(NOT_TAKEN, { account, portion }), NOT_TAKEN)
    },
    now: () => Date.now(),
  }
  const importFrom = async (
    events: AsyncIterable<UserDataEvent>,
    { signal }: Pick<CommandCall, 'signal'>,
  ) => {
    const result = await importUsers(events, target, { signal })
    const { problems: _, ...counts } = result
    server.log.info('accounts_imported', counts)
    return result
  }
  return {
    write: (place, { signal, ...options }) =>
      explained(async () => {
        const path = pathOf(place)
        await writeNewFile(path, serverData({ source, ...options }), signal)
        return path
      }),
    read: (place, call) =>
      explained(async () => {
        const bytes = byteCount(call)
        return await importFrom(readServerData(await realpath(pathOf(place)), bytes), call)
      }),
    readProsody: (place, call) =>
      explained(async () => {
        const bytes = byteCount(call)
        return await importFrom(readProsodyData(await realpath(pathOf(place)), bytes), call)
      }),
  }
}

/** Shows how much of what there is was read. */
function byteCount({ progress }: Pick<CommandCall, 'progress'>) {
  let [done, total] = [0, 0]
  return {
    onFile(bytes: number) {
      total += bytes
    },
    onBytes(bytes: number) {
      done += bytes
      progress({ done, total, of: 'bytes' })
    },
  }
}

/** The server stops, or nobody waits for what was asked for. */
export function isBrokenOff(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'AbortError'
}

export const BROKEN_OFF = 'broken off before it was done'

/** What is wrong with files is the caller's business. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof FileExistsError)
      throw new CommandError('conflict', cause.message, { cause })
    if (isBrokenOff(cause)) throw new CommandError('unavailable', BROKEN_OFF, { cause })
    if (cause instanceof UserDataError) throw new CommandError('invalid', cause.message, { cause })
    if (!(cause instanceof Error) || !('syscall' in cause)) throw cause
    const isMissing = 'code' in cause && cause.code === 'ENOENT'
    const where = 'path' in cause ? `${cause.path} ` : ''
    const text = `${where}${whyUnusable(cause)}`
    throw new CommandError(isMissing ? 'not-found' : 'unavailable', text, { cause })
  }
}
