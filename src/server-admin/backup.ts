import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { CommandError } from '../admin/command.ts'
import type { AdminBackup } from '../admin/commands/backup.ts'
import { StorageError } from '../core/storage.ts'
import type { Server } from '../server.ts'
import { BackupExistsError, backUp } from '../storage-backup.ts'
import { BROKEN_OFF, isBrokenOff, TRANSFER } from './data.ts'

/** Servers that write a backup at this moment. */
const busy = new WeakSet<Server>()

export function adminBackup(server: Server): AdminBackup {
  return {
    async backUp({ path }, { progress, signal }) {
      if (busy.has(server)) throw new CommandError('conflict', 'a backup is being written')
      busy.add(server)
      try {
        const file = resolve(server.config.data_dir, TRANSFER, path)
        await mkdir(dirname(file), { recursive: true, mode: 0o700 })
        const saved = await backUp(file, { loaded: server.loaded, onProgress: progress, signal })
        server.log.info('backed_up', { file: saved.file })
        return saved
      } catch (cause) {
        throw explained(cause)
      } finally {
        busy.delete(server)
      }
    },
  }
}

/** What is in the way is the caller's business. */
function explained(cause: unknown): unknown {
  if (cause instanceof BackupExistsError) {
    return new CommandError('conflict', cause.message, { cause })
  }
  if (isBrokenOff(cause)) return new CommandError('unavailable', BROKEN_OFF, { cause })
  const isInTheWay = cause instanceof StorageError || (cause instanceof Error && 'syscall' in cause)
  return isInTheWay ? new CommandError('unavailable', cause.message, { cause }) : cause
}
