#include "pin.h"

#include <string.h>
#include <sys/mman.h>

struct pin {
    CK_BYTE kept; /* apart from the length: a PIN may be empty */
    CK_BYTE length;
    CK_BYTE bytes[MOST_PIN_BYTES];
};

static struct pin *pins; /* NULL, or MOST_PINS of them */

static bool prepare(void)
{
    size_t size = sizeof(struct pin) * MOST_PINS;
    void *memory;

    if (pins != NULL)
        return true;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    if (mlock(memory, size) != 0 || madvise(memory, size, MADV_DONTDUMP) != 0 ||
        madvise(memory, size, MADV_WIPEONFORK) != 0) {
        munmap(memory, size);
        return false;
    }
    pins = memory;
    return true;
}

bool pin_keep(unsigned index, const CK_BYTE *pin, CK_ULONG length)
{
    pin_wipe(index);
    if (pin == NULL || length > MOST_PIN_BYTES || !prepare())
        return false;
    memcpy(pins[index].bytes, pin, length);
    pins[index].length = (CK_BYTE)length;
    pins[index].kept = 1;
    return true;
}

bool pin_get(unsigned index, CK_BYTE **pin, CK_ULONG *length)
{
    if (pins == NULL || !pins[index].kept)
        return false;
    *pin = pins[index].bytes;
    *length = pins[index].length;
    return true;
}

void pin_wipe(unsigned index)
{
    if (pins != NULL)
        explicit_bzero(&pins[index], sizeof pins[index]);
}
