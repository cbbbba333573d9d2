import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { expected, type Problem } from './problems.ts'

/** Text that names a file or directory. */
export const path = z.string().min(1, 'a path')

/** A data directory that we could neither use nor make. Touches nothing. */
export function* dataDirectoryProblems(dataDir: string, directory: string): Generator<Problem> {
  const reason = whyNoDirectory(resolve(directory, dataDir))
  if (reason === undefined) return
  const text = `found ${JSON.stringify(dataDir)}, ${reason}, expected a directory to read and write`
  yield { path: ['data_dir'], text }
}

function whyNoDirectory(path: string): string | undefined {
  const existing = nearestExisting(path)
  const subject = existing === path ? 'which' : `but ${existing}`
  try {
    if (!statSync(existing).isDirectory()) return `${subject} is no directory`
    accessSync(existing, constants.R_OK | constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return `${subject} ${whyUnusable(error)}`
  }
}

function nearestExisting(path: string): string {
  const isThere = statSync(path, { throwIfNoEntry: false }) !== undefined
  const parent = dirname(path)
  return isThere || parent === path ? path : nearestExisting(parent)
}

/** The kernel cuts longer names of Unix sockets off (`sockaddr_un`); 103 fits everywhere. */
const LONGEST_SOCKET_PATH = 103

/** The directory of the socket must be there, unless it is the data directory. */
export function* socketProblems(socket: string, dataDir: string): Generator<Problem> {
  const path = ['admin', 'socket']
  if (Buffer.byteLength(socket) > LONGEST_SOCKET_PATH) {
    const short = `a path of at most ${LONGEST_SOCKET_PATH} bytes, such as "/run/meerkat.sock"`
    yield { path, text: expected(socket, short) }
  } else if (dirname(socket) !== dataDir && !existsSync(dirname(socket))) {
    yield { path, text: expected(socket, 'a path in a directory that exists') }
  }
}

/** Why a file could not be used; reads on after "which". */
export function whyUnusable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
      return 'does not exist'
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'this process may not access'
    case 'EISDIR':
      return 'is a directory'
    case 'ENOTDIR':
      return 'is not in a directory'
    default:
      return `cannot be used (${code ?? String(error)})`
  }
}
