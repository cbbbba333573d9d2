import type { Module } from './core/module.ts'

/** The modules that come with the server, in the order in which they are loaded. */
export const modules: readonly Module[] = []
