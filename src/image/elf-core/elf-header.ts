import { CoreFormatError } from './core-format-error.ts'
import { readExactly, type CoreSource } from './core-source.ts'
import { elfMachine, machineOf, type CoreMachine } from './machine.ts'
import { PROGRAM_HEADER_BYTES } from './program-header.ts'
import { StructReader } from './struct-reader.ts'

/**
 * Elf64_Ehdr, include/uapi/linux/elf.h, filled in as fill_elf_header() of fs/binfmt_elf.c does (Linux 6.18):
 *
 *    0  e_ident: 7f 'E' 'L' 'F', class 2 (64 bits), data 1 (little-endian), version 1, OS ABI 0, zeros
 *   16  e_type 4 (ET_CORE)    18  e_machine     20  e_version 1
 *   24  e_entry 0             32  e_phoff       40  e_shoff
 *   48  e_flags 0             52  e_ehsize 64   54  e_phentsize 56   56  e_phnum
 *   58  e_shentsize           60  e_shnum       62  e_shstrndx 0
 *
 * e_phnum has 16 bits. With 65,535 program headers or more it is PN_XNUM, and the number is in sh_info of the only
 * section header (fill_extnum_info()):
 *
 *    0  sh_name 0   4  sh_type 0   8  sh_flags 0   16  sh_addr 0   24  sh_offset 0
 *   32  sh_size 1 (e_shnum)       40  sh_link 0 (e_shstrndx)       44  sh_info: number of program headers
 */
export const ELF_HEADER_BYTES = 64
export const SECTION_HEADER_BYTES = 64
const PN_XNUM = 0xffff
const ET_CORE = 4

/**
 * vm.max_map_count is 65,530 unless raised; four million segments are 224 MiB of program headers.
 * What claims more is damage or malice.
 */
const PROGRAM_HEADERS_MAX = 2 ** 22

export interface ElfHeader {
  readonly machine: CoreMachine
  readonly programHeadersOffset: number
  readonly programHeaderCount: number
}

/** Whether the number of program headers does not fit into the header, so that a section header must hold it. */
export function needsSectionHeader(programHeaderCount: number): boolean {
  return programHeaderCount >= PN_XNUM
}

export function encodeElfHeader(header: ElfHeader, sectionHeaderOffset: number): Uint8Array {
  const bytes = new Uint8Array(ELF_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  const extended = needsSectionHeader(header.programHeaderCount)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  view.setUint16(16, ET_CORE, true)
  view.setUint16(18, elfMachine(header.machine), true)
  view.setUint32(20, 1, true)
  view.setBigUint64(32, BigInt(header.programHeadersOffset), true)
  view.setUint16(52, ELF_HEADER_BYTES, true)
  view.setUint16(54, PROGRAM_HEADER_BYTES, true)
  view.setUint16(56, extended ? PN_XNUM : header.programHeaderCount, true)
  if (extended) {
    view.setBigUint64(40, BigInt(sectionHeaderOffset), true)
    view.setUint16(58, SECTION_HEADER_BYTES, true)
    view.setUint16(60, 1, true)
  }
  return bytes
}

export function encodeSectionHeader(programHeaderCount: number): Uint8Array {
  const bytes = new Uint8Array(SECTION_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(32, 1, true)
  view.setUint32(44, programHeaderCount, true)
  return bytes
}

export function readElfHeader(source: CoreSource): ElfHeader {
  const header = new StructReader(readExactly(source, 0, ELF_HEADER_BYTES, 'the ELF header'), 0)
  const expect = (right: boolean, what: string, at: number): void => {
    if (!right) throw new CoreFormatError(what, at)
  }
  expect(header.u32(0) === 0x464c457f, 'not an ELF file: it does not begin with 7f 45 4c 46', 0)
  expect(header.u8(4) === 2, `not a 64-bit ELF file: its class is ${header.u8(4)}, not 2`, 4)
  expect(header.u8(5) === 1, `not a little-endian ELF file: its data encoding is ${header.u8(5)}, not 1`, 5)
  expect(header.u16(16) === ET_CORE, `an ELF file, but not a core: its type is ${header.u16(16)}, not 4`, 16)
  const machine = machineOf(header.u16(18))
  if (machine === undefined) throw new CoreFormatError(`a core of machine ${header.u16(18)}, neither x86-64 (62) nor arm64 (183)`, 18)
  expect(header.u16(54) === PROGRAM_HEADER_BYTES, `program headers of ${header.u16(54)} bytes, not ${PROGRAM_HEADER_BYTES}`, 54)
  const programHeadersOffset = header.size(32, 'the offset of the program headers')
  const programHeaderCount = readProgramHeaderCount(source, header)
  expect(programHeaderCount <= PROGRAM_HEADERS_MAX, `${programHeaderCount} program headers, more than any process has mappings`, 56)
  return { machine, programHeadersOffset, programHeaderCount }
}

function readProgramHeaderCount(source: CoreSource, header: StructReader): number {
  const count = header.u16(56)
  if (count !== PN_XNUM) return count
  const offset = header.size(40, 'the offset of the section header that holds the number of program headers')
  if (offset === 0) throw new CoreFormatError('the number of program headers is in a section header, but there is none', 40)
  const what = 'the section header that holds the number of program headers'
  return new StructReader(readExactly(source, offset, SECTION_HEADER_BYTES, what), offset).u32(44)
}
