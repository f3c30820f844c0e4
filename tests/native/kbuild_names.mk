# Prints the module that each built-in object of a kernel tree would be compiled as, without compiling: kbuild's
# own lists (scripts/Makefile.lib), asked for in each folder.
# make -f kbuild_names.mk srctree=TREE auto=AUTO.CONF obj=.

__walk:

need-builtin := 1
src := $(srctree)/$(obj)
kbuild-file := $(or $(wildcard $(src)/Kbuild),$(src)/Makefile)
SRCARCH := x86
BITS := 64
export SRCARCH BITS

include $(auto)
include $(srctree)/scripts/Kbuild.include
include $(kbuild-file)
ifeq ($(obj),.)
# Of arch/x86/Makefile, which holds the compiler's options too.
obj-y += lib/ arch/x86/lib/
obj-$(CONFIG_PCI) += arch/x86/pci/
obj-$(CONFIG_PM) += arch/x86/power/
obj-$(CONFIG_VIDEO) += arch/x86/video/
endif
include $(srctree)/scripts/Makefile.lib

# As modname-multi and modfile there, for an object that is not being made.
names = $(or $(sort $(foreach m,$(multi-obj-ym),\
	$(if $(filter $1.o,$(call suffix-search,$m,.o,-objs -y -m)),$(m:.o=)))),$(notdir $1))

below := $(patsubst %/built-in.a,%,$(filter %/built-in.a,$(real-obj-y)))
objects := $(patsubst ./%,%,$(filter-out %/built-in.a,$(real-obj-y)))
$(foreach o,$(objects),$(info @ $(addprefix $(obj)/,$(call names,$(patsubst $(obj)/%.o,%,$o)))))

.PHONY: __walk $(below)
__walk: $(below)
$(below):
	@$(MAKE) -s --no-print-directory -f $(firstword $(MAKEFILE_LIST)) srctree=$(srctree) auto=$(auto) obj=$@
