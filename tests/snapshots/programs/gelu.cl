__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void mul_1000(__global const float* restrict a0, __global const float* restrict a1, __global float* restrict a2) {
    const int group_0 = get_group_id(0);
    for (int chunk = 0; chunk < 31; chunk++) {
        const float16 t0_ = vload16(0, a0 + ((group_0 * 496) + (chunk * 16))) * vload16(0, a1 + ((group_0 * 496) + (chunk * 16)));
        const float16 t1_ = t0_ + 1.0f;
        vstore16(t1_ * ((tanh((t1_ + (((t1_ * t1_) * t1_) * 0.044715f)) * 0.7978846f) + 1.0f) * 0.5f), 0, a2 + ((group_0 * 496) + (chunk * 16)));
    }
    if (group_0 >= 1) {
        for (int rest = 992; rest < 1000; rest++) {
            const float t2_ = (a0[rest] * a1[rest]) + 1.0f;
            a2[rest] = t2_ * ((tanh((t2_ + (((t2_ * t2_) * t2_) * 0.044715f)) * 0.7978846f) + 1.0f) * 0.5f);
        }
    }
}
